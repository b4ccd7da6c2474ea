"""The results of a grid, one ResultSet (board) per dataset and recipe."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from ltbench.analysis.metrics import metric_values, run_metrics
from ltbench.analysis.relative_accuracy import Relative, relative_accuracy
from ltbench.analysis.statistics import summarize
from ltbench.config.dataset import BadImages, DatasetSpec
from ltbench.config.grid import Variant
from ltbench.config.planning import Plan, PlannedRun, is_baseline
from ltbench.config.recipe import Recipe
from ltbench.core.exact import mean, percent
from ltbench.runs.record import Record
from ltbench.runs.state import coordinates, older_jobs
from ltbench.runs.store import Stored

EstimateState = Literal[
    "complete", "partial", "missing", "stale", "failed", "not available", "empty"
]

DECIMALS = 1
"""Decimals of a percentage in a table for readers."""

EMPTY = "\N{EN DASH}"
"""Text of a value that does not exist, such as the accuracy of an empty group."""

AUXILIARY = {
    "official_val": "the dataset's own validation images",
    "train_holdout": "training images of each class, at most half, held out from all stages",
    "unused_pool": "images of each class in neither the long-tailed nor the balanced split",
}
"""Descriptions of auxiliary images by source, for footnotes."""


@dataclass(frozen=True)
class Estimate:
    """A metric estimated over seeds, in percent, or its absence.

    Attributes:
        mean, std: over the existing seeds; no deviation with one seed.
        interval: 95 % bootstrap interval, of RA and differences only.
        n, planned: number of existing seeds, and of seeds in the grid.
        state: "partial" has a mean; "stale" means a record of an older version or configuration;
            "empty" a group without classes, or a metric that no record has input for.
        failed: number of seeds whose job failed.
        reason: why a value is not available.
        keys: of the records that it was computed from.
    """

    mean: Fraction | None = None
    std: Fraction | None = None
    interval: tuple[Fraction, Fraction] | None = None
    n: int = 0
    planned: int = 0
    state: EstimateState = "missing"
    failed: int = 0
    reason: str = ""
    keys: tuple[str, ...] = ()


def estimated(seeds: Estimate, fractions: Mapping[str, Fraction | None]) -> Estimate:
    """Return the estimate of a metric over records, in percent.

    Args:
        seeds: whose records these are: their number, state and failures.
        fractions: the metric by record key, None where a record has no input for it.
    """
    percentages = {key: percent(value) for key, value in fractions.items() if value is not None}
    if not percentages:
        return replace(seeds, mean=None, std=None, state="empty")
    n, summary = len(percentages), summarize(list(percentages.values()))
    state = seeds.state if n == seeds.n else "partial"
    keys = tuple(percentages)
    return replace(seeds, mean=summary.mean, std=summary.std, n=n, state=state, keys=keys)


@dataclass(frozen=True)
class VariantResult:
    """The results of a variant on a board.

    Attributes:
        variant: as in the grid.
        keys: of its reported long-tailed jobs, in the order of seeds.
        init_jobs: keys of the jobs whose weights they are initialized from; empty if trained from
            scratch.
        init_method: method of the init jobs, as in `PlannedRun`.
        values: estimates by metric.
        upper_keys: of the records that UA is the mean of, in the order of seeds.
        remarks: on its runs, for footnotes.
    """

    variant: Variant
    keys: tuple[str, ...]
    init_jobs: tuple[str, ...]
    init_method: str | None
    values: dict[str, Estimate]
    upper_keys: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Stage1Result:
    """A stage-1 network, with the metrics of its `joint` classifier."""

    label: str
    keys: tuple[str, ...]
    joint: dict[str, Estimate]


@dataclass(frozen=True)
class ResultSet:
    """A board: results of a grid on one dataset and recipe."""

    grid: str
    dataset: DatasetSpec
    recipe: Recipe
    seeds: tuple[int, ...]
    entries: tuple[VariantResult, ...]
    stage1_results: tuple[Stage1Result, ...]
    uneven_test: bool

    @property
    def id(self) -> str:
        """Name of the board, unique within its grid."""
        return f"{self.dataset.id}, {self.recipe.name}"

    @property
    def title(self) -> str:
        """Title of dataset, imbalance ratio and images tested on."""
        ratio, auxiliary = self.dataset.imbalance_ratio, self.dataset.tested_on == "auxiliary"
        title = self.dataset.title + ("" if ratio is None else f", imbalance ratio {ratio:g}")
        return title + (", tested on auxiliary images" if auxiliary else "")

    def initialized_from(self, stage1: Stage1Result) -> list[VariantResult]:
        """Return the variants initialized from a stage-1 network."""
        return [entry for entry in self.entries if entry.init_jobs == stage1.keys]


def boards(
    plan: Plan, records: Mapping[str, Stored], failed: Collection[str] = frozenset()
) -> list[ResultSet]:
    """Return the boards of a grid, in its order.

    Args:
        plan: runs and jobs of the grid.
        records: valid records by key.
        failed: keys of jobs whose last attempt failed.
    """
    by_board: dict[tuple[str, str], list[PlannedRun]] = {}
    for row in plan.rows:
        by_board.setdefault((row.dataset.id, row.recipe.name), []).append(row)
    older = older_jobs(records, plan)
    built = [_Builder(plan, rows, records, failed, older).board() for rows in by_board.values()]
    return [board for board in built if board.entries]


def boards_of_seeds(
    plan: Plan, records: Mapping[str, Stored], seeds: Collection[int]
) -> list[ResultSet]:
    """Return the boards of a grid from some seeds alone.

    Args:
        plan: runs and jobs of the grid.
        records: valid records by key.
        seeds: that count.
    """
    others = {row.key for row in plan.rows if row.seed not in seeds}
    return boards(plan, {key: each for key, each in records.items() if key not in others})


def bad_images_note(bad: BadImages) -> str:
    """Return the footnote on images that could not be decoded."""
    return f"{bad}: undecodable."


class _Builder:
    """Builder of one board."""

    def __init__(
        self,
        plan: Plan,
        rows: list[PlannedRun],
        records: Mapping[str, Stored],
        failed: Collection[str],
        older: Collection[tuple[str, ...]],
    ) -> None:
        self.plan = plan
        self.rows = rows
        self.records = records
        self.failed = failed
        self.older = older
        self.dataset, self.recipe = rows[0].dataset, rows[0].recipe
        self._metrics: dict[str, dict[str, Fraction | None]] = {}

    def board(self) -> ResultSet:
        longtailed = [r for r in self.rows if r.split == "longtailed" and not r.needed_for_ua]
        balanced = [r for r in self.rows if r.split == "balanced"]
        baseline = next((r.variant for r in balanced if is_baseline(r.variant)), None)
        vanilla = {r.seed: r.key for r in balanced if r.variant == baseline}
        counterparts: dict[str, dict[int, str]] = {}
        for r in balanced:
            if not r.needed_for_ua:
                counterparts.setdefault(r.variant.label, {})[r.seed] = r.key
        runs: dict[str, dict[int, PlannedRun]] = {}
        for r in longtailed:
            runs.setdefault(r.variant.label, {})[r.seed] = r
        entries = [
            self._entry(of_label, counterparts.get(label, {}), vanilla)
            for label, of_label in runs.items()
        ]
        seeds = tuple(dict.fromkeys(r.seed for r in longtailed))
        keys = (key for entry in entries for key in entry.keys if key in self.records)
        tests = (self.records[key].record.test for key in keys)
        uneven = any(test and len(set(test.totals)) > 1 for test in tests)
        stage1_results = self._stage1_results(entries)
        grid = self.plan.grid.name
        return ResultSet(
            grid, self.dataset, self.recipe, seeds, tuple(entries), stage1_results, uneven
        )

    def _entry(
        self, runs: dict[int, PlannedRun], balanced: dict[int, str], vanilla: dict[int, str]
    ) -> VariantResult:
        rows = list(runs.values())
        keys = tuple(row.key for row in rows)
        values = self._values(keys)
        longtailed = {seed: row.key for seed, row in runs.items()}
        values["ua"], values["ra"], upper = self._relative(longtailed, balanced, vanilla)
        return VariantResult(
            variant=rows[0].variant,
            keys=keys,
            init_jobs=tuple(row.init_job for row in rows if row.init_job),
            init_method=rows[0].init_method,
            values=values,
            upper_keys=upper,
            remarks=self._remarks(rows[0], balanced),
        )

    def _remarks(self, row: PlannedRun, balanced: dict[int, str]) -> tuple[str, ...]:
        auxiliaries = (self.plan.jobs[key].dataset.auxiliary for key in row.jobs)
        remarks = [
            f"Uses {auxiliary.id}: {AUXILIARY[auxiliary.source]}."
            for auxiliary in dict.fromkeys(filter(None, auxiliaries))
        ]
        if bad := self.plan.jobs[row.key].dataset.bad_images:
            remarks.append(bad_images_note(bad))
        remarks += self._tuning(row.variant)
        recipe, base = row.variant.recipe, row.recipe.name
        if recipe not in (None, base):
            remarks.append(f"Trained with recipe {recipe}; A_v of its UA with recipe {base}.")
        if balanced:
            job = self.plan.jobs[next(iter(balanced.values()))]
            if job.method != row.variant.method:
                remarks.append(
                    f"A_b is the balanced run of {job.label}: both are the same on balanced data."
                )
        return tuple(remarks)

    def _tuning(self, variant: Variant) -> Iterator[str]:
        """Yield how values were tuned, and the changes to the recipe."""
        trials = [self.records[key].record for key in variant.trials if key in self.records]
        auxiliary = trials[0].job.dataset.auxiliary if trials else None
        if auxiliary is not None:
            images = sum(trials[0].split.auxiliary_counts or ())
            yield (
                f"Values chosen by {len(variant.trials)} training runs, tested on {images} images "
                f"of {auxiliary.id}; its cost includes them."
            )
        if variant.recipe_overrides:
            changes = (f"{name} {value}" for name, value in variant.recipe_overrides.items())
            yield f"Its recipe has {', '.join(changes)}."

    def _stage1_results(self, entries: list[VariantResult]) -> tuple[Stage1Result, ...]:
        labels = {entry.keys: entry.variant.label for entry in entries}
        return tuple(
            Stage1Result(labels.get(keys, self.plan.jobs[keys[0]].label), keys, self._values(keys))
            for keys in dict.fromkeys(entry.init_jobs for entry in entries if entry.init_jobs)
        )

    def _values(self, keys: tuple[str, ...]) -> dict[str, Estimate]:
        return {metric.key: self._value(keys, metric.key) for metric in run_metrics()}

    def _metric(self, key: str) -> dict[str, Fraction | None]:
        """Return the metrics of a record."""
        if key not in self._metrics:
            self._metrics[key] = metric_values(self.records[key].record)
        return self._metrics[key]

    def _has_failed(self, key: str) -> bool:
        """Return whether a job's last attempt failed and it has no record."""
        return key in self.failed and key not in self.records

    def _value(self, keys: tuple[str, ...], name: str) -> Estimate:
        recorded = tuple(key for key in keys if key in self.records)
        failed = sum(map(self._has_failed, keys))
        planned = len(keys)
        if not recorded:
            stale = any(coordinates(self.plan.jobs[key]) in self.older for key in keys)
            absent: EstimateState = "failed" if failed else "stale" if stale else "missing"
            return Estimate(planned=planned, state=absent, failed=failed)
        n = len(recorded)
        state: EstimateState = "complete" if n == planned else "partial"
        seeds = Estimate(n=n, planned=planned, state=state, failed=failed, keys=recorded)
        return estimated(seeds, {key: self._metric(key)[name] for key in recorded})

    def _relative(
        self, longtailed: dict[int, str], balanced: dict[int, str], vanilla: dict[int, str]
    ) -> tuple[Estimate, Estimate, tuple[str, ...]]:
        """Return UA, RA and UA's keys, over seeds with all runs."""
        planned = len(longtailed)

        def none(reason: str) -> tuple[Estimate, Estimate, tuple[str, ...]]:
            value = Estimate(planned=planned, state="not available", reason=reason)
            return value, value, ()

        if not balanced or not vanilla:
            absent = "UA needs runs on the balanced split, which this grid does not have here."
            return none(self.dataset.no_balanced_counterpart or absent)
        runs = {
            seed: (longtailed[seed], vanilla[seed], balanced[seed])
            for seed in longtailed
            if seed in vanilla and seed in balanced
        }
        accuracies = {
            key: fraction
            for key in {key for keys in runs.values() for key in keys} & self.records.keys()
            if (fraction := self.records[key].record.accuracy) is not None
        }
        complete = {
            seed: keys for seed, keys in runs.items() if all(key in accuracies for key in keys)
        }
        if not complete:
            parts = ("its long-tailed run", "A_v (softmax, balanced)", "A_b (its own balanced run)")
            missing = [
                part
                for i, part in enumerate(parts)
                if not any(keys[i] in accuracies for keys in runs.values())
            ]
            return none(
                f"Missing for UA and RA: {' and '.join(missing or ['a seed with all three runs'])}."
            )
        accuracy, a_v, a_b = ([accuracies[keys[i]] for keys in complete.values()] for i in range(3))
        if not any((*a_v, *a_b)):
            return none("UA is zero: no balanced run has a correct prediction.")
        result = relative_accuracy(accuracy, a_v, a_b)
        n = len(complete)
        state: EstimateState = "complete" if n == planned else "partial"
        used = tuple(dict.fromkeys(key for keys in complete.values() for key in keys))
        failed = sum(any(map(self._has_failed, keys)) for keys in runs.values())
        seeds = Estimate(n=n, planned=planned, state=state, failed=failed, keys=used)
        upper = 1 if mean(a_v) >= mean(a_b) else 2
        return *_in_percent(result, seeds), tuple(keys[upper] for keys in complete.values())


def _in_percent(result: Relative, seeds: Estimate) -> tuple[Estimate, Estimate]:
    upper, interval = result.upper, result.interval
    ua = replace(seeds, mean=100 * upper.mean, std=None if upper.std is None else 100 * upper.std)
    scaled = None if interval is None else (100 * interval[0], 100 * interval[1])
    return ua, replace(seeds, mean=100 * result.relative, interval=scaled)


def ad_hoc_records(plan: Plan, records: Mapping[str, Stored]) -> list[Record]:
    """Return the records of a grid with overridden settings, sorted.

    Teachers on a class subset, and jobs without a test, are excluded.
    """
    unplanned = (stored.record for key, stored in records.items() if key not in plan.jobs)
    ad_hoc = [
        record
        for record in unplanned
        if record.job.ad_hoc and record.grid == plan.grid.name
        if record.job.subset == "all" and record.test is not None
    ]
    return sorted(ad_hoc, key=lambda record: (*coordinates(record.job), record.key))
