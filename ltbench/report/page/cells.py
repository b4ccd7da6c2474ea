"""Tables as the page shows them: their cells rendered, and their rows in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from ltbench.analysis import findings, significance
from ltbench.analysis.result_set import VariantResult
from ltbench.report.table import Cell, Column, Table, cell_parts

VERDICTS: Final = frozenset((*get_args(significance.Verdict), *get_args(findings.Verdict)))
"""Texts that the style sheet marks."""

LONG: Final = 7
"""Characters of a spread that needs more room: an interval, a number of seeds."""


@dataclass(frozen=True)
class RenderedCell:
    """A cell as the page prints it.

    Attributes:
        text: what it says.
        spread: what stands beside it, muted.
        number: what a script sorts by; None sorts last.
        rank: 1 best, 2 second.
        state: class of the style sheet: of a value that is not complete, or of a verdict.
        notes: numbers of the table's notes.
    """

    text: str = ""
    spread: str = ""
    number: str | None = None
    rank: int = 0
    state: str = ""
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Head:
    """A column, its key in addresses, and how much room its spreads need."""

    column: Column[Any]
    key: str
    spread: Literal["", "short", "long"]


@dataclass(frozen=True)
class Line:
    """A row: its cells, and the variant that it is about, if it is about one."""

    cells: tuple[RenderedCell, ...]
    entry: VariantResult | None = None


@dataclass(frozen=True)
class View:
    """A table on the page.

    Attributes:
        key: in addresses.
        title: of its button.
        table: what it shows.
        ranked, others: rows with complete accuracies, and all others; a table that is not of
            variants has the first alone.
        sortable: whether each row is about one variant.
        links: addresses by the text that leads there.
    """

    key: str
    title: str
    table: Table
    heads: tuple[Head, ...]
    ranked: tuple[Line, ...]
    others: tuple[Line, ...] = ()
    sortable: bool = False
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All rows, in the default order."""
        return (*self.ranked, *self.others)

    @property
    def help(self) -> dict[str, str]:
        """What columns say, by title."""
        columns = self.table.columns
        return {column.title: column.help for column in columns if column.help}

    def cell(self, line: Line, title: str) -> RenderedCell:
        """Return a row's cell by column title, empty without that column."""
        titles = self.table.titles
        return line.cells[titles.index(title)] if title in titles else RenderedCell()


def view_of(
    table: Table,
    title: str,
    entries: Sequence[VariantResult] = (),
    links: Mapping[str, str] | None = None,
    *,
    seeds: bool = True,
) -> View:
    """Return a table as a view; rows that name a variant can be sorted and filtered.

    Args:
        table: what it shows.
        title: of the view.
        entries: variants that rows can be about.
        links: addresses by the text of a cell.
        seeds: whether cells say which seeds they lack.
    """
    at = table.titles.index("Method") if "Method" in table.titles else 0
    by_label = {entry.variant.label: entry for entry in entries}
    lines = [
        Line(
            tuple(
                render(*each, table, seeds=seeds) for each in zip(row, table.columns, strict=True)
            ),
            by_label.get(row[at].text),
        )
        for row in table.rows
    ]
    sortable = "Method" in table.titles and all(line.entry for line in lines)
    ranked = [line for line in lines if is_ranked(line.entry) or not sortable]
    others = [line for line in lines if sortable and not is_ranked(line.entry)]
    if sortable:
        ranked.sort(key=_best_first)
        others.sort(key=_best_first)
    return View(
        key=_key(table.name),
        title=title,
        table=table,
        heads=tuple(_heads(table.columns, lines)),
        ranked=tuple(ranked),
        others=tuple(others),
        sortable=sortable,
        links=links or {},
    )


def render(cell: Cell, column: Column[Any], table: Table, *, seeds: bool = True) -> RenderedCell:
    """Return a cell as the page prints it, with missing seeds if `seeds`."""
    text, spread, lacking = cell_parts(cell, column)
    value, number = cell.value, cell.number
    state = value.state if value and value.state != "complete" else ""
    return RenderedCell(
        text=text,
        spread=" ".join(filter(None, (spread, lacking if seeds else ""))),
        number=None if number is None else f"{float(number):.10g}",
        rank=cell.rank,
        state=(text if text in VERDICTS else state).replace(" ", "-"),
        notes=table.marks(cell),
    )


def is_ranked(entry: VariantResult | None) -> bool:
    """Whether all seeds of a variant are there."""
    return entry is not None and entry.values["acc"].state == "complete"


def _best_first(line: Line) -> Any:
    mean = None if line.entry is None else line.entry.values["acc"].mean
    return (mean is None, -(mean or 0))


def _heads(columns: Sequence[Column[Any]], lines: Sequence[Line]) -> list[Head]:
    """Return the heads of columns; equal titles get numbered keys."""
    heads: list[Head] = []
    for i, column in enumerate(columns):
        key, taken = _key(column.title), {head.key for head in heads}
        width = max((len(line.cells[i].spread) for line in lines), default=0)
        room: Literal["", "short", "long"] = "long" if width > LONG else "short" if width else ""
        heads.append(Head(column, f"{key}-{i}" if key in taken else key, room))
    return heads


def _key(text: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return "-".join(words) or "column"
