"""Overview table of a board: accuracy, gain, groups, cost and seeds."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property

from ltbench.analysis.metrics import Metric, metrics_in
from ltbench.analysis.relative_to_baseline import RelativeCost, gain, relative_costs
from ltbench.analysis.result_set import Estimate, VariantResult
from ltbench.analysis.significance import Comparison, compare_rows, find_baseline
from ltbench.config.planning import BASELINE
from ltbench.core.exact import fixed
from ltbench.core.groups import GROUPS
from ltbench.report.context import ACC, BoardContext, metric_column
from ltbench.report.page.cells import is_ranked
from ltbench.report.table import COUNT, ORDINAL, POINTS, TIMES, Cell, Column, TableSpec

HEIGHT = 12
"""Of a shape, from 0 to 100 %."""

ABSENT = Estimate(state="not available")


class BoardSummary(BoardContext):
    """A board and how its variants stand beside softmax."""

    @cached_property
    def plain(self) -> VariantResult | None:
        """Softmax as it is."""
        return find_baseline(self.board, BASELINE)

    @cached_property
    def costs(self) -> Mapping[str, RelativeCost]:
        """Training cost over softmax's, by label."""
        return relative_costs(self.board, self.methods, self.records)

    @cached_property
    def over_softmax(self) -> Mapping[str, Comparison]:
        """Paired tests against softmax, by label."""
        return compare_rows(self.board, self.records)

    @cached_property
    def ranked(self) -> tuple[VariantResult, ...]:
        """Variants of which all seeds are there, the most accurate first."""
        return tuple(sorted(filter(is_ranked, self.entries), key=accuracy, reverse=True))

    def place(self, entry: VariantResult) -> int | None:
        """Return a variant's place among the ranked; equal accuracies share one."""
        if not is_ranked(entry):
            return None
        return 1 + sum(accuracy(other) > accuracy(entry) for other in self.ranked)

    def gain(self, entry: VariantResult) -> Estimate | None:
        """Return points of accuracy above softmax."""
        acc, points = entry.values["acc"], gain(entry, self.plain)
        if points is not None:
            return replace(acc, mean=points, std=None)
        return None if entry is self.plain else ABSENT

    def verdict(self, entry: VariantResult) -> str | None:
        """Return whether a variant is better than softmax."""
        comparison = self.over_softmax.get(entry.variant.label)
        return None if comparison is None else comparison.verdict

    def cost(self, entry: VariantResult) -> Cell:
        """Return the training cost of a variant."""
        cost = self.costs.get(entry.variant.label)
        return Cell(ABSENT) if cost is None else Cell(cost.ratio, about=not cost.known)


def _columns(of: BoardSummary) -> list[Column[VariantResult]]:
    metrics = [m for m in metrics_in("main") if of.board.uneven_test or not m.uneven]
    return [
        Column(
            "Rank",
            of.place,
            ORDINAL,
            "lowest",
            help="Place by accuracy among variants of which all seeds are there.",
        ),
        Column("Method", lambda e: Cell(e.variant.label, notes=e.remarks), names=True),
        metric_column(ACC),
        Column("Gain", of.gain, POINTS, "highest", help="Points of accuracy above softmax."),
        Column(
            "Better?",
            of.verdict,
            help="Than softmax, by a paired test on the same test images, corrected for all "
            "variants of the board; not separable where chance may explain the difference. With "
            "one seed it speaks of these trained networks alone.",
        ),
        *(_without_spread(m) for m in metrics if m is not ACC),
        *(_without_spread(m) for m in metrics_in("groups")),
        Column(
            "Shape",
            always=True,
            help="Many, medium and few from left to right, on one scale from 0 to 100 %.",
        ),
        Column(
            "Cost",
            of.cost,
            TIMES,
            "lowest",
            help="Passes of training images through networks beside softmax's, all stages, starts "
            "and teachers included, one with a gradient as three that are forward alone: counted, "
            "not timed; ~ where a network is one's own, counted as softmax's.",
        ),
        Column(
            "Seeds",
            lambda e: _seeds(e.values["acc"]),
            COUNT,
            "highest",
            help="Seeds that are there, of those that the grid asks for.",
        ),
    ]


OVERVIEW = TableSpec(
    name="overview",
    title=lambda of: of.board.title,
    caption=lambda of: of.rule,
    columns=_columns,
    rows=lambda of: of.entries,
)


def _without_spread(metric: Metric) -> Column[VariantResult]:
    """Return the column of a metric whose spread other views show."""

    def alone(entry: VariantResult) -> Estimate:
        return replace(entry.values[metric.key], std=None, interval=None)

    return replace(metric_column(metric), cell=alone)


def _seeds(acc: Estimate) -> Cell:
    return Cell(acc.n, unit="" if acc.n == acc.planned else f"of {acc.planned}")


def accuracy(entry: VariantResult) -> Fraction:
    """Return the mean accuracy of a variant; zero where nothing ran."""
    return entry.values["acc"].mean or Fraction(0)


def shape(entry: VariantResult) -> tuple[str, list[tuple[int, str]]] | None:
    """Return group accuracies in words and as points; None without any.

    The points lie in a box of 48 x 16.
    """
    means = [(group, entry.values[group].mean) for group in GROUPS]
    if all(mean is None for _, mean in means):
        return None
    words = ", ".join(
        f"{group} {'none' if mean is None else fixed(mean, 1)}" for group, mean in means
    )
    points = [
        (4 + 20 * i, fixed(14 - mean * HEIGHT / 100, 1))
        for i, (_, mean) in enumerate(means)
        if mean is not None
    ]
    return words, points
