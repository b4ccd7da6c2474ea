"""Published numbers next to ours: columns, and a table with sources.

The columns are those of other tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ltbench.analysis.metrics import METRICS, Metric
from ltbench.analysis.published import PublishedBy, PublishedNumber, comparable, inconsistent_ra
from ltbench.analysis.result_set import Estimate, VariantResult
from ltbench.report.context import BoardContext
from ltbench.report.table import (
    PERCENT,
    POINTS,
    PRINTED_PERCENT,
    Cell,
    Column,
    NumberRange,
    TableSpec,
)

PUBLISHERS: dict[PublishedBy, str] = {"survey": "Survey", "papers": "Papers"}

SAME = (
    "Survey and papers: published for the same dataset, imbalance ratio, network and number of "
    "epochs; other settings may differ."
)


def published_columns(of: BoardContext, metrics: Sequence[Metric]) -> list[Column[VariantResult]]:
    """Return a column for each publisher and published metric."""
    published = comparable(of.board)
    inconsistent = inconsistent_ra(published.numbers)

    def column(by: PublishedBy, metric: Metric) -> Column[VariantResult]:
        return Column(
            f"{PUBLISHERS[by]} {metric.title}",
            lambda entry: published_cell(published.of(entry, metric.key, by), inconsistent),
            PRINTED_PERCENT,
            "highest",
            caption=SAME,
        )

    return [column(by, metric) for by in PUBLISHERS for metric in metrics if metric.published]


def published_cell(
    numbers: Sequence[PublishedNumber], inconsistent: Mapping[PublishedNumber, Fraction]
) -> Cell:
    """Return published numbers as one cell, with sources as notes.

    Args:
        numbers: of one variant and metric; a range if they differ.
        inconsistent: printed RAs that contradict Acc and UA, with 100 Acc / UA.
    """
    if not numbers:
        return Cell()
    low, *rest = sorted({number.value for number in numbers})
    printed = PRINTED_PERCENT.text
    notes = [f"{n.source}: {printed(n.value)}." if rest else f"{n.source}." for n in numbers]
    notes += [
        f"Printed as {printed(n.value)}; Acc / UA is {PERCENT.text(inconsistent[n])}."
        for n in numbers
        if n in inconsistent
    ]
    return Cell(NumberRange(low, rest[-1]) if rest else low, notes=tuple(notes))


@dataclass(frozen=True)
class _Row:
    """A published number and ours.

    `computed` is 100 Acc / UA of a printed RA that contradicts it.
    """

    entry: VariantResult
    metric: Metric
    number: PublishedNumber
    computed: Fraction | None

    @property
    def ours(self) -> Estimate:
        return self.entry.values[self.metric.key]

    @property
    def difference(self) -> Estimate | None:
        if self.ours.mean is None:
            return None
        difference = self.ours.mean - self.number.value
        return replace(self.ours, mean=difference, std=None, interval=None)

    @property
    def published(self) -> Cell:
        if self.computed is None:
            return Cell(self.number.value)
        note = f"As printed; Acc / UA is {PERCENT.text(self.computed)}."
        return Cell(self.number.value, notes=(note,))


def _rows(of: BoardContext) -> list[_Row]:
    published = comparable(of.board)
    inconsistent = inconsistent_ra(published.numbers)
    return [
        _Row(entry, metric, number, inconsistent.get(number))
        for entry in of.entries
        for metric in METRICS.values()
        for number in published.of(entry, metric.key)
    ]


PUBLISHED_TABLE: TableSpec[BoardContext, _Row] = TableSpec(
    name="published",
    title=lambda of: f"{of.board.title}: published numbers",
    caption=lambda of: (
        f"{of.setting} Published for the same dataset, imbalance ratio, network and number of "
        "epochs; other settings may differ. Difference: ours minus published, in points."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row.entry.variant.label, names=True),
        Column("Metric", lambda row: row.metric.title, names=True),
        Column("Source", lambda row: row.number.source, names=True),
        Column("Ours", lambda row: row.ours, PERCENT),
        Column("Published", lambda row: row.published, PRINTED_PERCENT),
        Column("Difference", lambda row: row.difference, POINTS),
    ],
    rows=_rows,
)
