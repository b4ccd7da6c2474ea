"""Sources of tables (a board, a leaderboard) and columns shared by tables."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import chain
from typing import Self

from ltbench.analysis.findings import Finding, Result, evaluate_findings
from ltbench.analysis.mean_ranks import MeanRanks, accuracies, rank_variants
from ltbench.analysis.metrics import METRICS, Metric, metrics_in
from ltbench.analysis.relative_to_baseline import RelativeCost, relative_costs
from ltbench.analysis.result_set import (
    Estimate,
    ResultSet,
    VariantResult,
    boards,
    boards_of_seeds,
    estimated,
)
from ltbench.analysis.significance import find_baseline
from ltbench.config.planning import BASELINE, Plan
from ltbench.config.registry import MethodInfo
from ltbench.core.garbage import gc_paused
from ltbench.core.groups import RULES
from ltbench.report.table import PERCENT, Cell, Column
from ltbench.runs.record import Record
from ltbench.runs.store import Loaded, Stored

MIN_DATASETS = 5
"""Datasets below which there is no table of mean ranks."""

ACC = METRICS["acc"]

OWN_READING = (
    "Our reading: the paper's equations were not at hand. Compared with no published number."
)

LABEL: Column[VariantResult] = Column("Method", lambda entry: entry.variant.label, names=True)


@dataclass(frozen=True)
class BoardContext:
    """A board, the methods of the registry, and valid records by key."""

    board: ResultSet
    methods: Mapping[str, MethodInfo]
    records: Mapping[str, Stored]

    @property
    def entries(self) -> tuple[VariantResult, ...]:
        """The variants of the board."""
        return self.board.entries

    @cached_property
    def setting(self) -> str:
        """Dataset, recipe and seeds, for captions."""
        dataset, recipe, n = self.board.dataset, self.board.recipe, len(self.board.seeds)
        ratio = dataset.imbalance_ratio
        imbalance = f", {dataset.imbalance_type}, imbalance ratio {ratio:g}" if ratio else ""
        seeds = f"mean ± sample standard deviation over n = {n} seeds" if n > 1 else "n = 1 seed"
        return (
            f"{dataset.id}: {dataset.classes} classes{imbalance}. Recipe {recipe.name}: "
            f"{recipe.network}, {recipe.stage1.epochs} epochs, global batch size "
            f"{recipe.batch_size}. Test accuracy after the last epoch in %, {seeds}."
        )

    @cached_property
    def costs(self) -> Mapping[str, RelativeCost]:
        """Training FLOPs relative to softmax, by label."""
        return relative_costs(self.board, self.methods, self.records)

    @property
    def rule(self) -> str:
        """The definition of its shot groups, for captions."""
        return f"Groups: {RULES[self.board.dataset.shot_rule]}."

    @property
    def main_metrics(self) -> list[Metric]:
        """The metrics of its main table, uneven ones on uneven tests alone."""
        return [m for m in metrics_in("main") if self.board.uneven_test or not m.uneven]

    @property
    def has_ra(self) -> bool:
        """Whether a variant has a relative accuracy."""
        return any(entry.values["ra"].mean is not None for entry in self.entries)

    def name(self, entry: VariantResult) -> Cell:
        """Return the label of a variant, with its footnotes."""
        info = self.methods.get(entry.variant.method)
        reading = (OWN_READING,) if info is not None and info.own_reading else ()
        return Cell(entry.variant.label, notes=(*entry.remarks, *reading))

    def records_of(self, entry: VariantResult) -> list[Record]:
        """Return the records behind the accuracy of a variant."""
        return [self.records[key].record for key in entry.values["acc"].keys]

    def leading(self, n: int) -> list[VariantResult]:
        """Return softmax and the most accurate variants, n in all.

        Those with all seeds come first, as only they are ranked.
        """
        measured = [entry for entry in self.entries if entry.values["acc"].mean is not None]

        def standing(entry: VariantResult) -> tuple[bool, Fraction]:
            acc = entry.values["acc"]
            return acc.state == "complete", acc.mean or Fraction(0)

        measured.sort(key=standing, reverse=True)
        softmax = find_baseline(self.board, BASELINE)
        others = [entry for entry in measured if entry is not softmax]
        kept = others[: n - (softmax in measured)]
        return [entry for entry in measured if entry in kept or entry is softmax]


@dataclass(frozen=True)
class Leaderboard:
    """Source of a leaderboard: grids, records, methods and findings.

    Attributes:
        grids: plans, each with its boards.
        loaded: content of the record stores.
        methods: of the registry.
        findings: to test on the boards of grids that allow it.
        failed: keys of jobs whose last attempt failed.
    """

    grids: Sequence[tuple[Plan, Sequence[ResultSet]]]
    loaded: Loaded
    methods: Mapping[str, MethodInfo]
    findings: Sequence[Finding] = ()
    failed: Collection[str] = frozenset()

    @classmethod
    @gc_paused()
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
        return [board for _, boards in self.grids for board in boards]

    @property
    def fullest(self) -> ResultSet | None:
        """The board with the most measured variants, the first of equals.

        Those of grids with `headline` come first if they have results.
        """
        headlines = {plan.grid.name for plan, _ in self.grids if plan.grid.headline}

        def fullness(board: ResultSet) -> tuple[bool, int]:
            measured = sum(entry.values["acc"].n > 0 for entry in board.entries)
            return measured > 0 and board.grid in headlines, measured

        return max(self.boards, key=fullness, default=None)

    @cached_property
    def tested(self) -> list[Result]:
        """The results of findings on the boards that can test them."""
        records = self.loaded.records

        @cache
        def of_seeds(grid: str, seeds: frozenset[int]) -> dict[str, ResultSet]:
            plan = next(plan for plan, _ in self.grids if plan.grid.name == grid)
            return {board.id: board for board in boards_of_seeds(plan, records, seeds)}

        tested = [boards for plan, boards in self.grids if plan.grid.findings]
        results = evaluate_findings(
            self.findings,
            list(chain.from_iterable(tested)),
            records,
            lambda board, seeds: of_seeds(board.grid, seeds)[board.id],
            self.boards,
        )
        return [result for result in results if result.verdict != "not testable"]

    @property
    def untested(self) -> int:
        """The number of findings that no board can test."""
        return sum(
            all(each.finding is not claim for each in self.tested) for claim in self.findings
        )

    @cached_property
    def ranks(self) -> tuple[tuple[str, ...], MeanRanks] | None:
        """Datasets and mean ranks, None for too few datasets or variants."""
        datasets, scores = accuracies(self.boards)
        if len(datasets) < MIN_DATASETS or len(scores) < 3:
            return None
        return datasets, rank_variants(scores)


def by_network(boards: Iterable[ResultSet]) -> list[list[ResultSet]]:
    """Return boards in groups of one dataset and network, in order."""
    groups: dict[tuple[str, str], list[ResultSet]] = {}
    for board in boards:
        groups.setdefault((board.dataset.id, board.recipe.network), []).append(board)
    return list(groups.values())


def metric_column(
    metric: Metric, *, marked: bool = True, explained: bool = False
) -> Column[VariantResult]:
    """Return the column of a metric of variants.

    Args:
        metric: of the registry; the column of the accuracy is kept even if empty.
        marked: whether best and second are marked, if the metric has a direction.
        explained: whether the table's caption defines it.
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
    """Return another metric of the records behind an accuracy, in percent.

    Args:
        acc: accuracy of a variant.
        fractions: the metric by record key, None for an empty group; records without the metric
            are absent.
    """
    return acc if acc.mean is None else estimated(acc, fractions)
