"""Tables: columns of a kind, typed cells, and the specs that one builder makes them of.

No cell holds a number as text, so that every format, the page and a program read the same number.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from ltbench.analysis.result_set import DECIMALS, EMPTY, Estimate, State
from ltbench.core.exact import fixed, significant

EXACT_DECIMALS = 6
"""At most, of numbers that keep the decimals that they came with."""

ABSENT: dict[State, str] = {"not available": "n/a", "empty": EMPTY}
"""What stands for a value that cannot be; of others the state does."""


@dataclass(frozen=True)
class Number:
    """A kind of number, and how it is printed.

    Attributes:
        name: for programs.
        decimals: so many.
        unit: behind it.
        flags: of `fixed`, as `+` or a comma.
        digits: significant ones, in place of decimals, of numbers below 100.
        exact: keeps further decimals where a number has them.
        least: below it a number is only said to be so.
    """

    name: str
    decimals: int = 0
    unit: str = ""
    flags: str = ""
    digits: int = 0
    exact: bool = False
    least: Fraction | None = None

    def text(self, number: Fraction) -> str:
        """Return a number as it is printed."""
        if self.least is not None and number < self.least:
            return f"< {fixed(self.least, self.decimals)}{self.unit}"
        if self.digits and abs(number) < 100:
            return f"{significant(number, self.digits)}{self.unit}"
        decimals = self.decimals
        while self.exact and decimals < EXACT_DECIMALS and round(number, decimals) != number:
            decimals += 1
        return f"{fixed(number, decimals, self.flags)}{self.unit}"


PERCENT = Number("percent", DECIMALS)
POINTS = Number("points", DECIMALS, flags="+")
PRINTED_PERCENT = Number("percent", DECIMALS, exact=True)
TIMES = Number("times", 1, unit="x")
FINE_TIMES = Number("times", 2, unit="x")
COUNT = Number("count", flags=",")
EXTRA = Number("count", flags="+,")
ORDINAL = Number("ordinal")
HOURS = Number("hours", flags=",", digits=3)
RANK = Number("rank", 2)
P_VALUE = Number("p", 3, least=Fraction(1, 1000))


@dataclass(frozen=True)
class Range:
    """Numbers from different sources that do not agree."""

    low: Fraction
    high: Fraction


Content = str | Fraction | int | Range | Estimate | None


@dataclass(frozen=True)
class Cell:
    """A text, an exact number, a range, a value over seeds, or None: there is none.

    Attributes:
        content: of the kind that the column names, where it is a number.
        about: whether the number is an estimate.
        unit: of this number, where not all of its column have the same.
        notes: texts of its footnotes.
        rank: 1 best, 2 second, 0 neither; the builder says.
    """

    content: Content = None
    about: bool = False
    unit: str = ""
    notes: tuple[str, ...] = ()
    rank: int = 0

    @property
    def text(self) -> str:
        """The text, empty where the cell is a number."""
        return self.content if isinstance(self.content, str) else ""

    @property
    def value(self) -> Estimate | None:
        """The value over seeds, if it is one."""
        return self.content if isinstance(self.content, Estimate) else None

    @property
    def number(self) -> Fraction | None:
        """What the cell is sorted by: the number, the mean, the lower end; None without any."""
        match self.content:
            case Estimate(mean=mean):
                return mean
            case Range(low=low):
                return low
            case Fraction() | int() as number:
                return Fraction(number)
        return None

    @property
    def is_empty(self) -> bool:
        """Whether the cell has neither a number nor a text."""
        return not self.text and self.number is None

    @property
    def footnotes(self) -> tuple[str, ...]:
        """The texts of its notes, with the reason of a value that is not there."""
        reason = self.value.reason if self.value else ""
        return (*self.notes, reason) if reason else self.notes


R = TypeVar("R")
S = TypeVar("S")


def _nothing(_: object) -> None:
    """Fill no cell: of columns whose rows are there already."""


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column: title, kind of number, direction, and a row's cell.

    Attributes:
        title: in its head.
        cell: of a row of the table's spec.
        kind: of its numbers; None where it holds text.
        best: which numbers are better, where any are.
        marked: whether best and second are marked.
        help: what it says, for the page.
        caption: what the table's caption says of it.
        names: whether it tells rows apart; such columns come first and always stay.
        always: whether it stays where no row has a value.
    """

    title: str
    cell: Callable[[R], "Cell | Content"] = field(default=_nothing, compare=False)
    kind: Number | None = None
    best: Literal["highest", "lowest"] | None = None
    marked: bool = False
    help: str = ""
    caption: str = ""
    names: bool = False
    always: bool = False


def ranked(
    title: str,
    cell: Callable[[R], "Cell | Content"],
    best: Literal["highest", "lowest"] = "highest",
    caption: str = "",
) -> Column[R]:
    """Return a column of percentages whose best and second are marked."""
    return Column(title, cell, PERCENT, best, marked=True, caption=caption)


@dataclass(frozen=True)
class Table:
    """Columns, and rows of one cell a column; `name` tells the tables of a board apart."""

    name: str
    title: str
    caption: str
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def names(self) -> int:
        """How many of the first columns tell its rows apart."""
        return sum(column.names for column in self.columns)

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of its columns."""
        return tuple(column.title for column in self.columns)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Its footnotes, each once, in the order of their first use."""
        return tuple(dict.fromkeys(t for row in self.rows for cell in row for t in cell.footnotes))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {text: number for number, text in enumerate(self.notes, start=1)}

    def marks(self, cell: Cell) -> tuple[int, ...]:
        """Return the numbers of a cell's notes, from 1."""
        return tuple(sorted({self._numbers[text] for text in cell.footnotes}))


@dataclass(frozen=True)
class TableSpec(Generic[S, R]):
    """Specification of a table, built from a source such as a board.

    Attributes:
        name: tells the tables of a source apart.
        title, caption: of a source.
        columns: of a source; what is of no row is left out.
        rows: of a source, of any type that the columns take; without any there is no table.
        along: where best and second are looked for.
        compared: whether a row takes part.
        brief: whether a run prints the table when it ends.
    """

    name: str
    title: Callable[[S], str]
    caption: Callable[[S], str]
    columns: Callable[[S], Sequence[Column[R]]]
    rows: Callable[[S], Iterable[R]]
    along: Literal["columns", "rows"] = "columns"
    compared: Callable[[R], bool] = _always
    brief: bool = False

    def build(self, source: S) -> Table | None:
        """Return the table of a source; None without a row, or a column beside the names."""
        found = list(self.rows(source))
        every = tuple(self.columns(source)) if found else ()
        cells = [[as_cell(column.cell(row)) for column in every] for row in found]
        kept = [
            i
            for i, column in enumerate(every)
            if column.names or column.always or not all(row[i].is_empty for row in cells)
        ]
        if all(every[i].names for i in kept):
            return None
        columns = tuple(every[i] for i in kept)
        rows = [[row[i] for i in kept] for row in cells]
        compared = [i for i, row in enumerate(found) if self.compared(row)]
        marked = [j for j, column in enumerate(columns) if column.marked]
        if self.along == "rows":
            for i in compared:
                _mark(rows, [(i, j) for j in marked], columns)
        else:
            for j in marked:
                _mark(rows, [(i, j) for i in compared], columns)
        said = (self.caption(source), *(column.caption for column in columns))
        return Table(
            name=self.name,
            title=self.title(source),
            caption=" ".join(filter(None, dict.fromkeys(said))),
            columns=columns,
            rows=tuple(map(tuple, rows)),
        )


def build(specs: Iterable[TableSpec[S, Any]], source: S) -> list[Table]:
    """Return the tables of a source that there are."""
    return [table for spec in specs if (table := spec.build(source)) is not None]


def as_cell(content: "Cell | Content") -> Cell:
    """Return a cell of what a column's function gave."""
    return content if isinstance(content, Cell) else Cell(content)


def _mark(
    rows: list[list[Cell]], places: Sequence[tuple[int, int]], columns: Sequence[Column[Any]]
) -> None:
    """Mark the best and second of the complete numbers in some cells.

    What prints alike ties; a value without another to compare with is not marked.
    """
    shown = {
        (i, j): round(number, kind.decimals)
        for i, j in places
        if (number := rows[i][j].number) is not None
        if (value := rows[i][j].value) is None or value.state == "complete"
        if (kind := columns[j].kind)
    }
    if len(shown) < 2:
        return
    lowest = columns[places[0][1]].best == "lowest"
    best, *rest = sorted(set(shown.values()), reverse=not lowest)
    alone = list(shown.values()).count(best) == 1
    for (i, j), number in shown.items():
        if number == best:
            rows[i][j] = replace(rows[i][j], rank=1)
        elif alone and number == rest[0]:
            rows[i][j] = replace(rows[i][j], rank=2)


def value_parts(value: Estimate, kind: Number = PERCENT) -> tuple[str, str, str]:
    """Return a value's mean or state, its spread, and its missing seeds."""
    if value.mean is None:
        return ABSENT.get(value.state, value.state), "", ""
    unsigned, spread = replace(kind, flags=kind.flags.replace("+", "")), []
    if value.std is not None:
        spread.append(f"± {unsigned.text(value.std)}")
    if value.interval is not None:
        spread.append(f"({' to '.join(map(unsigned.text, value.interval))})")
    failed = f", {value.failed} failed" if value.failed else ""
    lacking = f"({value.n}/{value.planned} seeds{failed})" if value.state == "partial" else ""
    return kind.text(value.mean), " ".join(spread), lacking


def value_text(value: Estimate, kind: Number = PERCENT) -> str:
    """Return a value for a person: the mean and its spread, or why there is none."""
    return " ".join(filter(None, value_parts(value, kind)))


def cell_parts(cell: Cell, column: Column[Any]) -> tuple[str, str, str]:
    """Return a cell's text, spread and missing seeds, without its notes."""
    kind, spread, lacking = column.kind or COUNT, "", ""
    match cell.content:
        case None:
            return EMPTY, "", ""
        case str():
            return cell.content, "", ""
        case Estimate():
            text, spread, lacking = value_parts(cell.content, kind)
        case Range(low=low, high=high):
            text = f"{kind.text(low)} to {kind.text(high)}"
        case number:
            text = kind.text(Fraction(number))
    text = f"{'~' if cell.about else ''}{text}{f' {cell.unit}' if cell.unit else ''}"
    return text, spread, lacking


def cell_text(cell: Cell, column: Column[Any]) -> str:
    """Return a cell for a person, its notes left out."""
    return " ".join(filter(None, cell_parts(cell, column)))
