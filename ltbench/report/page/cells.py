"""Tables as the page shows them: cells with their words, and what a script sorts and filters by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from ltbench.analysis.board import DECIMALS, EMPTY, Entry, State, Value
from ltbench.core.exact import fixed
from ltbench.report.tables import Cell, Table

MINUS = "\N{MINUS SIGN}"

ABSENT: dict[State, str] = {
    "missing": "not run",
    "failed": "failed",
    "stale": "stale",
    "not available": "n/a",
    "empty": EMPTY,
}
"""What stands for a value that is not there."""

LOW_FIRST = {
    "cost": ("Device-hours", "Over softmax", "Work over softmax", "Peak memory, MB", "Parameters"),
    "calibration": ("ECE",),
}
"""Columns in which less is better, by table."""

LONG = 7
"""Characters of a spread that needs more room: an interval, a number of seeds."""

LEAST_SPREAD = Fraction(5, 100)
"""Points below which a deviation would be printed as zero."""


@dataclass(frozen=True)
class Shown:
    """A cell.

    Attributes:
        text: what it says.
        spread: beside it, muted.
        sort: its unrounded value; None sorts last.
        rank: 1 best, 2 second.
        state: of a value; empty for text.
        notes: numbers of the table's notes.
        href: where the text leads.
        points: many, medium, few in percent, for a cell that is drawn.
    """

    text: str = ""
    spread: str = ""
    sort: Fraction | None = None
    rank: int = 0
    state: str = ""
    notes: tuple[int, ...] = ()
    href: str | None = None
    points: tuple[Fraction | None, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column; `low_first` where less is better, `spread` where values have one."""

    key: str
    title: str
    numeric: bool = False
    low_first: bool = False
    spread: Literal["", "short", "long"] = ""


@dataclass(frozen=True)
class Line:
    """A row: its cells, and the variant that it is about, if it is about one."""

    cells: tuple[Shown, ...]
    entry: Entry | None = None


@dataclass(frozen=True)
class View:
    """One table of a group.

    Attributes:
        ranked, others: rows with complete accuracies, and all others; a cross table has the first
            alone.
        sortable: whether each row is about one variant.
    """

    key: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    ranked: tuple[Line, ...]
    others: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    sortable: bool = False
    help: dict[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All rows, in the default order."""
        return (*self.ranked, *self.others)


def percent(number: Fraction, flags: str = "") -> str:
    """Return a number in percent as tables print it; `flags` as of `fixed`."""
    return fixed(number, DECIMALS, flags).replace("-", MINUS)


def signed(number: Fraction) -> str:
    """Return a difference with its sign; one that rounds to zero has none."""
    rounded = round(number, DECIMALS)
    return percent(rounded, "+" if rounded else "")


def show(cell: Cell, *, badge: bool = True) -> Shown:
    """Return a cell; the seeds of a partial value stand beside it if `badge`."""
    value = cell.value
    if value is None:
        return Shown(cell.text, notes=tuple(sorted(set(cell.notes))))
    if value.mean is None or value.state in ABSENT:
        text = ABSENT.get(value.state, value.state)
        return Shown(text, state=value.state, notes=cell.notes)
    spread = spread_text(value)
    if badge and value.state == "partial":
        spread = f"{value.n}/{value.planned} seeds"
    text = percent(value.mean)
    if cell.text.startswith(("+", "-")):
        text = signed(value.mean)
    elif cell.text:
        text = cell.text.split(" (")[0]
    return Shown(text, spread, value.mean, cell.rank, value.state, cell.notes)


def spread_text(value: Value) -> str:
    """Return the interval of a value, or its deviation; nothing with one seed."""
    if value.interval is not None:
        return " to ".join(map(percent, value.interval))
    if value.std is None:
        return ""
    return "± <0.1" if value.std < LEAST_SPREAD else f"± {percent(value.std)}"


def columns(titles: Sequence[str], lines: Sequence[Line], low: Sequence[str] = ()) -> list[Column]:
    """Return the columns of rows; equal titles get numbered keys."""
    made: list[Column] = []
    for i, title in enumerate(titles):
        key = (
            "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split()) or "column"
        )
        taken = [column.key for column in made]
        cells = [line.cells[i] for line in lines]
        width = max((len(cell.spread) for cell in cells), default=0)
        made.append(
            Column(
                key=key if key not in taken else f"{key}-{i}",
                title=title,
                numeric=any(cell.sort is not None or cell.state in ABSENT for cell in cells),
                low_first=title in low,
                spread="long" if width > LONG else "short" if width else "",
            )
        )
    return made


def view_of(table: Table, key: str, title: str, entries: Sequence[Entry] = ()) -> View:
    """Return a table as a view; rows that name a variant can be sorted and filtered."""
    by_label = {entry.variant.label: entry for entry in entries}
    lines = [
        Line(tuple(show(cell) for cell in row), by_label.get(row[0].text)) for row in table.rows
    ]
    sortable = table.columns[0] == "Method" and all(line.entry for line in lines)
    ranked, others = in_blocks(lines) if sortable else (lines, [])
    return View(
        key=key,
        title=title,
        caption=table.caption,
        columns=tuple(columns(table.columns, lines, LOW_FIRST.get(table.name, ()))),
        ranked=tuple(ranked),
        others=tuple(others),
        notes=table.notes,
        sortable=sortable,
    )


def in_blocks(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Return the rows of complete variants, best accuracy first, and those of the others."""
    return (
        sorted((line for line in lines if is_ranked(line.entry)), key=_best_first),
        sorted((line for line in lines if not is_ranked(line.entry)), key=_best_first),
    )


def is_ranked(entry: Entry | None) -> bool:
    """Whether all seeds of a variant are there."""
    return entry is not None and entry.values["acc"].state == "complete"


def _best_first(line: Line) -> Fraction | float:
    mean = None if line.entry is None else line.entry.values["acc"].mean
    return float("inf") if mean is None else -mean
