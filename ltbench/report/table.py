"""Tables: typed columns and cells, and the specifications they are built from.

No cell holds a number as text, so that every format, the page and programs have the same number.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from ltbench.analysis.result_set import DECIMALS, EMPTY, Estimate, EstimateState
from ltbench.core.exact import fixed, in_decimals, significant

EXACT_DECIMALS = 6
"""Maximum number of decimals of an exact number."""

WORDS_OF_STATES: dict[EstimateState, str] = {"not available": "n/a", "empty": EMPTY}
"""Text of a value that cannot exist; otherwise the text is the state."""


@dataclass(frozen=True)
class NumberFormat:
    """A kind of number and its format.

    Attributes:
        name: of the kind, for programs.
        decimals: their number.
        unit: behind the number.
        flags: of `fixed`, such as `+` or a comma.
        digits: significant digits of numbers below 100, instead of decimals.
        exact: whether further decimals are kept.
        least: a smaller number is printed as `< least`.
    """

    name: str
    decimals: int = 0
    unit: str = ""
    flags: str = ""
    digits: int = 0
    exact: bool = False
    least: Fraction | None = None

    @cached_property
    def unsigned(self) -> "NumberFormat":
        """The format without a plus."""
        return replace(self, flags=self.flags.replace("+", ""))

    def text(self, number: Fraction) -> str:
        """Return a number as text."""
        if self.least is not None and number < self.least:
            return f"< {fixed(self.least, self.decimals)}{self.unit}"
        if self.digits and abs(number) < 100:
            return f"{significant(number, self.digits)}{self.unit}"
        decimals = self.decimals
        while self.exact and decimals < EXACT_DECIMALS and round(number, decimals) != number:
            decimals += 1
        return f"{fixed(number, decimals, self.flags)}{self.unit}"


PERCENT = NumberFormat("percent", DECIMALS)
POINTS = NumberFormat("points", DECIMALS, flags="+")
PRINTED_PERCENT = NumberFormat("percent", DECIMALS, exact=True)
TIMES = NumberFormat("times", 1, unit="x")
FINE_TIMES = NumberFormat("times", 2, unit="x")
COUNT = NumberFormat("count", flags=",")
EXTRA = NumberFormat("count", flags="+,")
ORDINAL = NumberFormat("ordinal")
HOURS = NumberFormat("hours", flags=",", digits=3)
RANK = NumberFormat("rank", 2)
P_VALUE = NumberFormat("p", 3, least=Fraction(1, 1000))


@dataclass(frozen=True)
class NumberRange:
    """A range of numbers from different sources."""

    low: Fraction
    high: Fraction


Content = str | Fraction | int | NumberRange | Estimate | None


@dataclass(frozen=True)
class Cell:
    """A cell: text, exact number, range, estimate, or empty.

    Attributes:
        content: a number is of the column's kind.
        about: whether the number is approximate.
        unit: of this number, if it differs within the column.
        notes: texts of its footnotes.
        rank: 1 best, 2 second, 0 neither; set by the builder.
    """

    content: Content = None
    about: bool = False
    unit: str = ""
    notes: tuple[str, ...] = ()
    rank: int = 0

    @property
    def text(self) -> str:
        """The text, empty if the cell holds a number."""
        return self.content if isinstance(self.content, str) else ""

    @property
    def value(self) -> Estimate | None:
        """The estimate over seeds, if it holds one."""
        return self.content if isinstance(self.content, Estimate) else None

    @property
    def number(self) -> Fraction | None:
        """The number to sort by: number, mean, or lower end."""
        match self.content:
            case Estimate(mean=mean):
                return mean
            case NumberRange(low=low):
                return low
            case Fraction() as number:
                return number
            case int() as count:
                return Fraction(count)
        return None

    @property
    def is_empty(self) -> bool:
        """Whether the cell has neither number nor text."""
        return not self.text and self.number is None

    @property
    def footnotes(self) -> tuple[str, ...]:
        """The texts of its notes, and the reason of a missing value."""
        value = self.value
        return (*self.notes, value.reason) if value and value.reason else self.notes


R = TypeVar("R")
S = TypeVar("S")


def _nothing(_: object) -> None:
    """Return an empty cell, for columns of a finished table."""


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column: title, number format, direction, and a function for cells.

    Attributes:
        title: in its head.
        cell: returns the cell of a row.
        kind: format of its numbers; None for text.
        best: whether high or low numbers are better, None if neither.
        marked: whether best and second are marked.
        help: its definition, for the page.
        caption: sentence that it adds to the table's caption.
        if_constant: sentence that replaces the column if all texts in it are equal; `{}` is the
            text.
        names: whether it identifies rows; such columns come first and are always kept.
        always: whether it is kept if no row has a value.
    """

    title: str
    cell: Callable[[R], "Cell | Content"] = field(default=_nothing, compare=False)
    kind: NumberFormat | None = None
    best: Literal["highest", "lowest"] | None = None
    marked: bool = False
    help: str = ""
    caption: str = ""
    if_constant: str = ""
    names: bool = False
    always: bool = False


def ranked(
    title: str,
    cell: Callable[[R], "Cell | Content"],
    best: Literal["highest", "lowest"] = "highest",
    caption: str = "",
) -> Column[R]:
    """Return a column of percentages with best and second marked."""
    return Column(title, cell, PERCENT, best, marked=True, caption=caption)


@dataclass(frozen=True)
class Table:
    """A finished table; `name` is unique on its board."""

    name: str
    title: str
    caption: str
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def names(self) -> int:
        """The number of first columns that identify rows."""
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
        texts = cell.footnotes
        return tuple(sorted({self._numbers[text] for text in texts})) if texts else ()


@dataclass(frozen=True)
class TableSpec(Generic[S, R]):
    """Specification of a table, built from a source such as a board.

    Attributes:
        name: unique among the tables of a source.
        title, caption: of a source.
        columns: of a source; empty columns are dropped.
        rows: of a source, of any type that the columns take; without rows there is no table.
        along: whether best and second are marked within columns or rows.
        compared: whether a row takes part in the marking.
        brief: whether the table is printed at the end of a run.
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
        """Return the table of a source, None if it would be empty."""
        sources = list(self.rows(source))
        every = tuple(self.columns(source)) if sources else ()
        cells = [[as_cell(column.cell(row)) for column in every] for row in sources]
        replaced = {
            i: column.if_constant.format(text)
            for i, column in enumerate(every)
            if column.if_constant and (text := _constant_text([row[i] for row in cells]))
        }
        kept = [
            i
            for i, column in enumerate(every)
            if i not in replaced
            if column.names or column.always or not all(row[i].is_empty for row in cells)
        ]
        if all(every[i].names for i in kept):
            return None
        columns = tuple(every[i] for i in kept)
        rows = [[row[i] for i in kept] for row in cells]
        compared = [i for i, row in enumerate(sources) if self.compared(row)]
        marked = [j for j, column in enumerate(columns) if column.marked]
        if self.along == "rows":
            for i in compared:
                _mark(rows, [(i, j) for j in marked], columns)
        else:
            for j in marked:
                _mark(rows, [(i, j) for i in compared], columns)
        captions = [self.caption(source), *(column.caption for column in columns)]
        captions += replaced.values()
        return Table(
            name=self.name,
            title=self.title(source),
            caption=" ".join(filter(None, dict.fromkeys(captions))),
            columns=columns,
            rows=tuple(map(tuple, rows)),
        )


def build(specs: Iterable[TableSpec[S, Any]], source: S) -> list[Table]:
    """Return the tables of a source that are not empty."""
    return [table for spec in specs if (table := spec.build(source)) is not None]


def as_cell(content: "Cell | Content") -> Cell:
    """Return content as a cell."""
    return content if isinstance(content, Cell) else Cell(content)


def _constant_text(cells: Iterable[Cell]) -> str:
    """Return the text that all cells share, else an empty one."""
    texts = {cell.text for cell in cells if not cell.is_empty}
    return texts.pop() if len(texts) == 1 else ""


def _mark(
    rows: list[list[Cell]], cells: Sequence[tuple[int, int]], columns: Sequence[Column[Any]]
) -> None:
    """Mark best and second among complete numbers.

    Numbers that are printed alike tie; a single number is not marked.

    Args:
        rows: cells of the table, changed in place.
        cells: (row, column) indices of the cells to compare.
        columns: of the table.
    """
    decimals = [column.kind.decimals if column.kind else 0 for column in columns]
    most = max((decimals[j] for _, j in cells), default=0)
    printed = {
        (i, j): in_decimals(number, decimals[j]) * 10 ** (most - decimals[j])
        for i, j in cells
        if (number := rows[i][j].number) is not None
        if (value := rows[i][j].value) is None or value.state == "complete"
        if columns[j].kind
    }
    if len(printed) < 2:
        return
    lowest = columns[cells[0][1]].best == "lowest"
    best, *rest = sorted(set(printed.values()), reverse=not lowest)
    alone = list(printed.values()).count(best) == 1
    for (i, j), number in printed.items():
        if number == best:
            rows[i][j] = replace(rows[i][j], rank=1)
        elif alone and number == rest[0]:
            rows[i][j] = replace(rows[i][j], rank=2)


def _value_parts(value: Estimate, kind: NumberFormat) -> tuple[str, str, str]:
    """Return an estimate's mean or state, spread, and missing seeds."""
    if value.mean is None:
        return WORDS_OF_STATES.get(value.state, value.state), "", ""
    spread = []
    if value.std is not None:
        spread.append(f"± {kind.unsigned.text(value.std)}")
    if value.interval is not None:
        spread.append(f"({' to '.join(map(kind.unsigned.text, value.interval))})")
    failed = f", {value.failed} failed" if value.failed else ""
    seeds = f"({value.n}/{value.planned} seeds{failed})" if value.state == "partial" else ""
    return kind.text(value.mean), " ".join(spread), seeds


def value_text(value: Estimate) -> str:
    """Return an estimate in percent: mean and spread, or its state."""
    return " ".join(filter(None, _value_parts(value, PERCENT)))


def cell_parts(cell: Cell, column: Column[Any]) -> tuple[str, str, str]:
    """Return a cell's text, spread and missing seeds, without its notes."""
    kind, spread, seeds = column.kind or COUNT, "", ""
    match cell.content:
        case None:
            return EMPTY, "", ""
        case str():
            return cell.content, "", ""
        case Estimate():
            text, spread, seeds = _value_parts(cell.content, kind)
        case NumberRange(low=low, high=high):
            text = f"{kind.text(low)} to {kind.text(high)}"
        case number:
            text = kind.text(Fraction(number))
    text = f"{'~' if cell.about else ''}{text}{f' {cell.unit}' if cell.unit else ''}"
    return text, spread, seeds


def cell_text(cell: Cell, column: Column[Any]) -> str:
    """Return a cell as text, without its notes."""
    return " ".join(filter(None, cell_parts(cell, column)))
