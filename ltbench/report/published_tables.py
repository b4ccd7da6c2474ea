"""Figures that papers report, beside ours: columns of other tables, and a table with sources."""

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
    Range,
    TableSpec,
)

PUBLISHERS: dict[PublishedBy, str] = {"survey": "Survey", "papers": "Papers"}

SAME = (
    "Survey and papers: the same dataset, ratio, network and number of epochs; other settings may "
    "differ."
)


def published_columns(of: BoardContext, metrics: Sequence[Metric]) -> list[Column[VariantResult]]:
    """Return a column for each publisher and each metric that is published."""
    beside = comparable(of.board)
    wrong = inconsistent_ra(beside.figures)

    def column(by: PublishedBy, metric: Metric) -> Column[VariantResult]:
        return Column(
            f"{PUBLISHERS[by]} {metric.title}",
            lambda entry: figures_cell(beside.of(entry, metric.key, by), wrong),
            PRINTED_PERCENT,
            "highest",
            caption=SAME,
        )

    return [column(by, metric) for by in PUBLISHERS for metric in metrics if metric.published]


def figures_cell(
    figures: Sequence[PublishedNumber], wrong: Mapping[PublishedNumber, Fraction]
) -> Cell:
    """Return published figures as one cell, a range where they differ, the sources as notes.

    Args:
        figures: of one variant and metric.
        wrong: figures that contradict those beside them, with what these say.
    """
    if not figures:
        return Cell()
    low, *rest = sorted({figure.value for figure in figures})
    shown = PRINTED_PERCENT.text
    notes = [f"{f.source}: {shown(f.value)}." if rest else f"{f.source}." for f in figures]
    notes += [
        f"Printed as {shown(f.value)}; Acc / UA is {PERCENT.text(wrong[f])}."
        for f in figures
        if f in wrong
    ]
    return Cell(Range(low, rest[-1]) if rest else low, notes=tuple(notes))


@dataclass(frozen=True)
class _Beside:
    """A published figure beside ours; `right` is what it should say where it is misprinted."""

    entry: VariantResult
    metric: Metric
    figure: PublishedNumber
    right: Fraction | None

    @property
    def ours(self) -> Estimate:
        return self.entry.values[self.metric.key]

    @property
    def difference(self) -> Estimate | None:
        if self.ours.mean is None:
            return None
        gap = self.ours.mean - self.figure.value
        return replace(self.ours, mean=gap, std=None, interval=None)

    @property
    def published(self) -> Cell:
        if self.right is None:
            return Cell(self.figure.value)
        note = f"Printed so; Acc / UA is {PERCENT.text(self.right)}."
        return Cell(self.figure.value, notes=(note,))


def _beside(of: BoardContext) -> list[_Beside]:
    found = comparable(of.board)
    wrong = inconsistent_ra(found.figures)
    return [
        _Beside(entry, metric, figure, wrong.get(figure))
        for entry in of.entries
        for metric in METRICS.values()
        for figure in found.of(entry, metric.key)
    ]


PUBLISHED: TableSpec[BoardContext, _Beside] = TableSpec(
    name="published",
    title=lambda of: f"{of.board.title}: published figures",
    caption=lambda of: (
        f"{of.setting} Published for the same dataset, ratio, network and number of "
        "epochs; other settings may differ. Difference: ours less theirs, in points."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row.entry.variant.label, names=True),
        Column("Metric", lambda row: row.metric.title, names=True),
        Column("Source", lambda row: row.figure.source, names=True),
        Column("Ours", lambda row: row.ours, PERCENT),
        Column("Published", lambda row: row.published, PRINTED_PERCENT),
        Column("Difference", lambda row: row.difference, POINTS),
    ],
    rows=_beside,
)
