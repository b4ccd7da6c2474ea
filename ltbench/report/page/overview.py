"""Overview table of a board: accuracy, gain, groups, cost and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property

from ltbench.analysis.metrics import Metric, metrics_in
from ltbench.analysis.relative_to_baseline import per_class_accuracy
from ltbench.analysis.result_set import Estimate, VariantResult
from ltbench.analysis.significance import Comparison, compare_with_baseline, find_baseline
from ltbench.config.planning import BASELINE
from ltbench.core.exact import fixed
from ltbench.core.groups import GROUPS
from ltbench.report.context import ACC, BoardContext, metric_column
from ltbench.report.page.cells import is_ranked
from ltbench.report.paired_tables import difference
from ltbench.report.table import COUNT, ORDINAL, POINTS, TIMES, Cell, Column, TableSpec

HEIGHT = 12
"""Height of a shape, from 0 to 100 %."""

NOT_AVAILABLE = Estimate(state="not available")


class BoardSummary(BoardContext):
    """A board with its variants relative to softmax."""

    @cached_property
    def softmax(self) -> VariantResult | None:
        """The softmax baseline."""
        return find_baseline(self.board, BASELINE)

    @cached_property
    def softmax_classes(self) -> Sequence[Fraction]:
        """Accuracies of softmax by class in percent, [C]; empty without run."""
        softmax = self.softmax
        keys = softmax.values["acc"].keys if softmax else ()
        return per_class_accuracy(softmax, self.records) if softmax and keys else ()

    @cached_property
    def over_softmax(self) -> Mapping[str, Comparison]:
        """Paired comparisons with softmax, by label."""
        return compare_with_baseline(self.board, self.records)

    @cached_property
    def ranked(self) -> tuple[VariantResult, ...]:
        """Variants complete over seeds, the most accurate first."""
        return tuple(sorted(filter(is_ranked, self.entries), key=accuracy, reverse=True))

    def rank(self, entry: VariantResult) -> int | None:
        """Return a variant's rank by accuracy; ties share one."""
        if not is_ranked(entry):
            return None
        return 1 + sum(accuracy(other) > accuracy(entry) for other in self.ranked)

    def gain(self, entry: VariantResult) -> Estimate | None:
        """Return the accuracy gain over softmax in points, over common seeds."""
        comparison = self.over_softmax.get(entry.variant.label)
        if comparison is None:
            return None if entry is self.softmax else NOT_AVAILABLE
        return replace(difference(comparison, len(self.board.seeds)), interval=None)

    def verdict(self, entry: VariantResult) -> str | None:
        """Return the verdict on a variant against softmax."""
        comparison = self.over_softmax.get(entry.variant.label)
        return None if comparison is None else comparison.verdict

    def cost(self, entry: VariantResult) -> Cell:
        """Return the training FLOPs of a variant relative to softmax."""
        cost = self.costs.get(entry.variant.label)
        return Cell(NOT_AVAILABLE) if cost is None else Cell(cost.ratio, about=not cost.known)


def _columns(of: BoardSummary) -> list[Column[VariantResult]]:
    return [
        Column(
            "Rank",
            of.rank,
            ORDINAL,
            "lowest",
            help="Rank by accuracy among the variants that are complete over seeds.",
        ),
        Column("Method", of.name, names=True),
        metric_column(ACC),
        Column(
            "Gain",
            of.gain,
            POINTS,
            "highest",
            help="Accuracy gain over softmax, in points, over the seeds that both have.",
        ),
        Column(
            "Better?",
            of.verdict,
            help="Whether it is better than softmax, by a paired test on the same test images with "
            "Holm's correction for all variants of the board; not significant: chance may explain "
            "the difference. With one seed, this is about these trained networks alone.",
        ),
        *(_without_spread(m) for m in of.main_metrics if m is not ACC),
        *(_without_spread(m) for m in metrics_in("groups")),
        Column(
            "Shape",
            always=True,
            help="Accuracy on many-, medium- and few-shot classes from left to right, on one scale "
            "from 0 to 100 %.",
        ),
        Column(
            "Cost",
            of.cost,
            TIMES,
            "lowest",
            help="Training FLOPs relative to softmax, of all stages, init jobs and teachers; a "
            "pass with a gradient counts as three forward passes. They are counted, not measured; "
            "~ if the registry does not know a network, which then counts as that of softmax.",
        ),
        Column(
            "Seeds",
            lambda e: _seeds(e.values["acc"]),
            COUNT,
            "highest",
            help="Seeds that have run, of those in the grid.",
        ),
    ]


OVERVIEW_TABLE = TableSpec(
    name="overview",
    title=lambda of: of.board.title,
    caption=lambda of: of.rule,
    columns=_columns,
    rows=lambda of: of.entries,
)


def _without_spread(metric: Metric) -> Column[VariantResult]:
    """Return the column of a metric, whose spread other views show."""

    def mean(entry: VariantResult) -> Estimate:
        return replace(entry.values[metric.key], std=None, interval=None)

    return replace(metric_column(metric), cell=mean)


def _seeds(acc: Estimate) -> Cell:
    return Cell(acc.n, unit="" if acc.n == acc.planned else f"of {acc.planned}")


def accuracy(entry: VariantResult) -> Fraction:
    """Return the mean accuracy of a variant, zero without a run."""
    return entry.values["acc"].mean or Fraction(0)


def shape(entry: VariantResult) -> tuple[str, list[tuple[int, str]]] | None:
    """Return group accuracies as text and as points, None without any.

    The points lie in a box of 48 x 16.
    """
    means = [(group, entry.values[group].mean) for group in GROUPS]
    if all(mean is None for _, mean in means):
        return None
    text = ", ".join(
        f"{group} {'none' if mean is None else fixed(mean, 1)}" for group, mean in means
    )
    points = [
        (4 + 20 * i, fixed(14 - mean * HEIGHT / 100, 1))
        for i, (_, mean) in enumerate(means)
        if mean is not None
    ]
    return text, points
