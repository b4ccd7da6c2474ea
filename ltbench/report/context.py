"""Sources of tables, and the columns that many tables share."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Self

from ltbench.analysis.findings import Finding
from ltbench.analysis.mean_ranks import Ranks, accuracies, rank_variants
from ltbench.analysis.metrics import METRICS, Metric
from ltbench.analysis.result_set import Estimate, ResultSet, State, VariantResult, boards
from ltbench.analysis.statistics import summarize
from ltbench.config.planning import Plan
from ltbench.config.registry import MethodInfo
from ltbench.core.groups import RULES
from ltbench.report.table import PERCENT, Column
from ltbench.runs.record import Record
from ltbench.runs.store import Loaded, Stored

FEWEST_DATASETS = 5
"""Datasets below which nothing is said of ranks."""

OLDER = "Not in older records."

ACC = METRICS["acc"]

LABEL: Column[VariantResult] = Column("Method", lambda entry: entry.variant.label, names=True)


@dataclass(frozen=True)
class BoardContext:
    """A board, the methods of the registry, and sound records by key."""

    board: ResultSet
    methods: Mapping[str, MethodInfo]
    records: Mapping[str, Stored]

    @property
    def entries(self) -> tuple[VariantResult, ...]:
        """The variants of the board."""
        return self.board.entries

    @cached_property
    def setting(self) -> str:
        """What all numbers of the board share."""
        dataset, recipe, n = self.board.dataset, self.board.recipe, len(self.board.seeds)
        ratio = (
            ""
            if dataset.imbalance_ratio is None
            else f", {dataset.imbalance_type}, ratio {dataset.imbalance_ratio:g}"
        )
        spread = f"mean ± sample standard deviation over n = {n} seeds" if n > 1 else "n = 1 seed"
        return (
            f"{dataset.id}: {dataset.classes} classes{ratio}. Recipe {recipe.name}: "
            f"{recipe.network}, {recipe.stage1.epochs} epochs, global batch {recipe.batch_size}. "
            "Test "
            f"accuracy after the last epoch in %, {spread}."
        )

    @property
    def rule(self) -> str:
        """How its classes are grouped."""
        return f"Groups: {RULES[self.board.dataset.shot_rule]}."

    def records_of(self, entry: VariantResult) -> list[Record]:
        """Return the records behind the accuracy of a variant."""
        return [self.records[key].record for key in entry.values["acc"].keys]


@dataclass(frozen=True)
class Leaderboard:
    """All that a leaderboard is made of.

    Attributes:
        grids: plans, each with its boards.
        loaded: what the record stores hold.
        methods: the registry's.
        findings: claims to test on every board.
        failed: keys of jobs whose last attempt failed.
    """

    grids: Sequence[tuple[Plan, Sequence[ResultSet]]]
    loaded: Loaded
    methods: Mapping[str, MethodInfo]
    findings: Sequence[Finding] = ()
    failed: Collection[str] = frozenset()

    @classmethod
    def of(
        cls,
        plans: Iterable[Plan],
        loaded: Loaded,
        methods: Mapping[str, MethodInfo],
        findings: Sequence[Finding] = (),
        failed: Collection[str] = frozenset(),
    ) -> Self:
        """Return the leaderboard of plans; the other arguments are its attributes."""
        grids = [(plan, boards(plan, loaded.records, failed)) for plan in plans]
        return cls(grids, loaded, methods, findings, failed)

    @property
    def boards(self) -> list[ResultSet]:
        """The boards of all grids."""
        return [board for _, found in self.grids for board in found]

    @property
    def fullest(self) -> ResultSet | None:
        """The board with the most variants measured, the first of equals."""

        def measured(board: ResultSet) -> int:
            return sum(entry.values["acc"].n > 0 for entry in board.entries)

        return max(self.boards, key=measured, default=None)

    @cached_property
    def ranks(self) -> tuple[tuple[str, ...], Ranks] | None:
        """Datasets, and the ranks of variants over them; None below five, or three variants."""
        datasets, scores = accuracies(self.boards)
        if len(datasets) < FEWEST_DATASETS or len(scores) < 3:
            return None
        return datasets, rank_variants(scores)


def metric_column(
    metric: Metric, *, marked: bool = True, explained: bool = False
) -> Column[VariantResult]:
    """Return the column of a metric of variants; that of the accuracy stays where nothing ran.

    Args:
        metric: of the registry.
        marked: whether best and second are marked, where values compare.
        explained: whether the table's caption says what it is.
    """
    return Column(
        metric.title,
        lambda entry: entry.values[metric.key],
        PERCENT,
        metric.best,
        marked=marked and metric.best is not None,
        help=metric.help,
        caption=f"{metric.title}: {metric.help}" if explained else "",
        always=metric is ACC,
    )


def over_seeds(acc: Estimate, fractions: Mapping[str, Fraction | None]) -> Estimate:
    """Return what records behind an accuracy have in its place, in percent.

    Args:
        acc: of a variant.
        fractions: by the keys of the records that have it; None where it is of no class.
    """
    if acc.mean is None:
        return acc
    known = {key: 100 * value for key, value in fractions.items() if value is not None}
    if not known:
        absent = replace(acc, mean=None, std=None, state="empty")
        return absent if fractions else replace(absent, state="not available", reason=OLDER)
    n, summary = len(known), summarize(list(known.values()))
    state: State = acc.state if n == acc.n else "partial"
    return replace(acc, mean=summary.mean, std=summary.std, n=n, state=state, keys=tuple(known))
