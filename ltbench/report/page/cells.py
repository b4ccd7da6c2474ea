"""Tables as views of the page: rendered cells and ordered rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from ltbench.analysis.findings import FindingVerdict
from ltbench.analysis.result_set import VariantResult
from ltbench.analysis.significance import ComparisonVerdict
from ltbench.report.table import Cell, Column, Table, cell_parts

VERDICTS: Final = frozenset((*get_args(ComparisonVerdict), *get_args(FindingVerdict)))
"""Texts with a class in the style sheet."""

LONG: Final = 7
"""Characters up to which a spread fits the narrow layout."""


@dataclass(frozen=True)
class RenderedCell:
    """A cell as the page prints it.

    Attributes:
        text: its content.
        spread: deviation, interval and missing seeds, in muted color.
        number: to sort by; None is last.
        rank: 1 best, 2 second.
        state: class in the style sheet, of an incomplete value or a verdict.
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
    """A column head with key in URLs and width of spreads."""

    column: Column[Any]
    key: str
    spread: Literal["", "short", "long"]


@dataclass(frozen=True)
class Line:
    """A row of cells, with its variant if it has one."""

    cells: tuple[RenderedCell, ...]
    entry: VariantResult | None = None


@dataclass(frozen=True)
class View:
    """A table on the page.

    Attributes:
        key: in URLs.
        title: of its button.
        table: the content.
        ranked, others: rows with complete accuracies, and all others; a table that is not of
            variants only has `ranked`.
        sortable: whether each row is of one variant.
        links: URLs by the text of a cell.
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
        """Definitions of columns, by title."""
        columns = self.table.columns
        return {column.title: column.help for column in columns if column.help}

    def cell(self, line: Line, title: str) -> RenderedCell:
        """Return the cell of a column, empty if the column is missing."""
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
    """Return a table as a view.

    Args:
        table: the content.
        title: of the view.
        entries: variants; if all rows name one, they can be sorted and filtered.
        links: URLs by the text of a cell.
        seeds: whether cells show missing seeds.
    """
    method = table.titles.index("Method") if "Method" in table.titles else 0
    by_label = {entry.variant.label: entry for entry in entries}
    lines = [
        Line(
            tuple(
                render(*each, table, seeds=seeds) for each in zip(row, table.columns, strict=True)
            ),
            by_label.get(row[method].text),
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
    """Return a rendered cell, with missing seeds if `seeds`."""
    text, spread, missing = cell_parts(cell, column)
    value, number = cell.value, cell.number
    state = value.state if value and value.state != "complete" else ""
    return RenderedCell(
        text=text,
        spread=" ".join(filter(None, (spread, missing if seeds else ""))),
        number=None if number is None else f"{float(number):.10g}",
        rank=cell.rank,
        state=(text if text in VERDICTS else state).replace(" ", "-"),
        notes=table.marks(cell),
    )


def is_ranked(entry: VariantResult | None) -> bool:
    """Return whether all seeds of a variant are complete."""
    return entry is not None and entry.values["acc"].state == "complete"


def _best_first(line: Line) -> Any:
    mean = None if line.entry is None else line.entry.values["acc"].mean
    return (mean is None, -(mean or 0))


def _heads(columns: Sequence[Column[Any]], lines: Sequence[Line]) -> list[Head]:
    """Return the heads of columns, with unique keys."""
    heads: list[Head] = []
    for i, column in enumerate(columns):
        key, taken = _key(column.title), {head.key for head in heads}
        length = max((len(line.cells[i].spread) for line in lines), default=0)
        width: Literal["", "short", "long"] = "long" if length > LONG else "short" if length else ""
        heads.append(Head(column, f"{key}-{i}" if key in taken else key, width))
    return heads


def _key(text: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return "-".join(words) or "column"
