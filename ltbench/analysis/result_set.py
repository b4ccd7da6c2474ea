"""What the records of a grid say, one dataset and recipe at a time: the numbers under tables."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from ltbench.analysis.metrics import metric_values, run_metrics
from ltbench.analysis.relative_accuracy import Relative, relative_accuracy
from ltbench.analysis.statistics import summarize
from ltbench.config.models import BadImages, DatasetSpec, Recipe, Variant
from ltbench.config.planning import Plan, PlannedRun, is_baseline
from ltbench.runs.record import Record
from ltbench.runs.state import coordinates, older_jobs
from ltbench.runs.store import Stored

State = Literal["complete", "partial", "missing", "stale", "failed", "not available", "empty"]

DECIMALS = 1
"""Of a percentage in a table for people."""

EMPTY = "\N{EN DASH}"
"""Stands for what does not exist: the accuracy of an empty group."""

AUXILIARY = {
    "official_val": "the dataset's own validation images",
    "train_holdout": "so many images a class, half of it at most, are left out of its training and "
    "of that of what it starts from",
    "unused_pool": "so many images a class that neither the long-tailed nor the balanced split has",
}
"""What auxiliary images are, by their source, for footnotes."""


@dataclass(frozen=True)
class Estimate:
    """A number over seeds, in percent, or why there is none.

    Attributes:
        mean, std: over the seeds that are there; no deviation with one seed.
        interval: 95 % bootstrap interval, of RA only.
        n, planned: seeds that are there and that the grid asks for.
        state: "partial" has a mean; "stale" is a record of an older version or configuration;
            "empty" is a group without classes.
        failed: seeds whose job failed.
        reason: why a value is not available.
        keys: of the records that it was computed from.
    """

    mean: Fraction | None = None
    std: Fraction | None = None
    interval: tuple[Fraction, Fraction] | None = None
    n: int = 0
    planned: int = 0
    state: State = "missing"
    failed: int = 0
    reason: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class VariantResult:
    """A variant on a board.

    Attributes:
        variant: as the grid names it.
        keys: of its long-tailed jobs that are reported, in the order of seeds.
        init_jobs: keys of the jobs whose weights they start from; empty where trained from scratch.
        init_method: method of those jobs, as of `PlannedRun`.
        values: by metric.
        remarks: what a reader must know of its runs, for footnotes.
    """

    variant: Variant
    keys: tuple[str, ...]
    init_jobs: tuple[str, ...]
    init_method: str | None
    values: dict[str, Estimate]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Stage1Result:
    """A trained network that others continue from; `joint` is with its own classifier."""

    label: str
    keys: tuple[str, ...]
    joint: dict[str, Estimate]


@dataclass(frozen=True)
class ResultSet:
    """The variants of a grid on one dataset under one recipe; boards are never mixed."""

    grid: str
    dataset: DatasetSpec
    recipe: Recipe
    seeds: tuple[int, ...]
    entries: tuple[VariantResult, ...]
    stage1_results: tuple[Stage1Result, ...]
    uneven_test: bool

    @property
    def id(self) -> str:
        """Name of the board within its grid."""
        return f"{self.dataset.id}, {self.recipe.name}"

    @property
    def title(self) -> str:
        """The dataset and ratio as a heading names them."""
        ratio = self.dataset.imbalance_ratio
        return self.dataset.title + ("" if ratio is None else f", ratio {ratio:g}")

    def built_on(self, stage1: Stage1Result) -> list[VariantResult]:
        """Return the variants that were built on a stage-1 network."""
        return [entry for entry in self.entries if entry.init_jobs == stage1.keys]


def boards(
    plan: Plan, records: Mapping[str, Stored], failed: Collection[str] = frozenset()
) -> list[ResultSet]:
    """Return the boards of a grid, in its order.

    Args:
        plan: rows and jobs of the grid.
        records: sound records by key.
        failed: keys of jobs whose last attempt failed.
    """
    cells: dict[tuple[str, str], list[PlannedRun]] = {}
    for row in plan.rows:
        cells.setdefault((row.dataset.id, row.recipe.name), []).append(row)
    older = older_jobs(records, plan)
    made = [_Builder(plan, rows, records, failed, older).board() for rows in cells.values()]
    return [board for board in made if board.entries]


def bad_images_note(bad: BadImages) -> str:
    """Return the footnote of a run that was trained without some images, or on black ones."""
    return f"{bad}: undecodable."


class _Builder:
    """Computes one board."""

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
        variants = list(dict.fromkeys(r.variant.label for r in longtailed))
        vanilla = next((r.variant for r in balanced if is_baseline(r.variant)), None)
        plain = {r.seed: r.key for r in balanced if r.variant == vanilla}
        entries = []
        for label in variants:
            own = {r.seed: r for r in longtailed if r.variant.label == label}
            balanced_counterpart = [
                r for r in balanced if r.variant.label == label and not r.needed_for_ua
            ]
            entries.append(self._entry(own, {r.seed: r.key for r in balanced_counterpart}, plain))
        seeds = tuple(dict.fromkeys(r.seed for r in longtailed))
        found = (self.records[key].record for e in entries for key in e.keys if key in self.records)
        uneven = any(record.test and len(set(record.test.totals)) > 1 for record in found)
        starts = self._starts(entries)
        grid = self.plan.grid.name
        return ResultSet(grid, self.dataset, self.recipe, seeds, tuple(entries), starts, uneven)

    def _entry(
        self,
        own: dict[int, PlannedRun],
        balanced_counterpart: dict[int, str],
        plain: dict[int, str],
    ) -> VariantResult:
        rows = list(own.values())
        keys = tuple(row.key for row in rows)
        values = self._values(keys)
        longtailed = {seed: row.key for seed, row in own.items()}
        values["ua"], values["ra"] = self._relative(longtailed, balanced_counterpart, plain)
        return VariantResult(
            variant=rows[0].variant,
            keys=keys,
            init_jobs=tuple(row.init_job for row in rows if row.init_job),
            init_method=rows[0].init_method,
            values=values,
            remarks=self._remarks(rows[0], balanced_counterpart),
        )

    def _remarks(self, row: PlannedRun, balanced_counterpart: dict[int, str]) -> tuple[str, ...]:
        used = (self.plan.jobs[key].dataset.auxiliary for key in row.jobs)
        remarks = [
            f"Chooses on {auxiliary.id}: {AUXILIARY[auxiliary.source]}."
            for auxiliary in dict.fromkeys(filter(None, used))
        ]
        if bad := self.plan.jobs[row.key].dataset.bad_images:
            remarks.append(bad_images_note(bad))
        own, base = row.variant.recipe, row.recipe.name
        if own not in (None, base):
            remarks.append(f"Trained with recipe {own}; the A_v of its UA with {base}.")
        if balanced_counterpart:
            job = self.plan.jobs[next(iter(balanced_counterpart.values()))]
            if job.method != row.variant.method:
                remarks.append(
                    f"A_b is the balanced run of {job.label}: with equal counts the same."
                )
        return tuple(remarks)

    def _starts(self, entries: list[VariantResult]) -> tuple[Stage1Result, ...]:
        labels = {entry.keys: entry.variant.label for entry in entries}
        return tuple(
            Stage1Result(
                labels.get(start, self.plan.jobs[start[0]].label), start, self._values(start)
            )
            for start in dict.fromkeys(entry.init_jobs for entry in entries if entry.init_jobs)
        )

    def _values(self, keys: tuple[str, ...]) -> dict[str, Estimate]:
        return {metric.key: self._value(keys, metric.key) for metric in run_metrics()}

    def _metric(self, key: str) -> dict[str, Fraction | None]:
        """Return the metrics of a record."""
        if key not in self._metrics:
            self._metrics[key] = metric_values(self.records[key].record)
        return self._metrics[key]

    def _value(self, keys: tuple[str, ...], name: str) -> Estimate:
        there = tuple(key for key in keys if key in self.records)
        failed = sum(key in self.failed for key in keys if key not in self.records)
        n, planned = len(there), len(keys)
        if not there:
            stale = any(coordinates(self.plan.jobs[key]) in self.older for key in keys)
            absent: State = "failed" if failed else "stale" if stale else "missing"
            return Estimate(planned=planned, state=absent, failed=failed)
        fractions = [self._metric(key)[name] for key in there]
        known = [100 * fraction for fraction in fractions if fraction is not None]
        if len(known) < n:
            return Estimate(n=n, planned=planned, state="empty", keys=there)
        summary = summarize(known)
        state: State = "complete" if n == planned else "partial"
        return Estimate(summary.mean, summary.std, None, n, planned, state, failed, "", there)

    def _relative(
        self, own: dict[int, str], balanced_counterpart: dict[int, str], plain: dict[int, str]
    ) -> tuple[Estimate, Estimate]:
        """Return UA and RA over the seeds that have all three runs."""
        planned = len(own)

        def none(reason: str) -> tuple[Estimate, Estimate]:
            value = Estimate(planned=planned, state="not available", reason=reason)
            return value, value

        if not balanced_counterpart or not plain:
            absent = "UA needs the balanced split, which this grid does not have here."
            return none(self.dataset.no_balanced_counterpart or absent)
        runs = {
            seed: (own[seed], plain[seed], balanced_counterpart[seed])
            for seed in own
            if seed in plain and seed in balanced_counterpart
        }
        found = {
            key: fraction
            for key in {key for keys in runs.values() for key in keys} & self.records.keys()
            if (fraction := self.records[key].record.accuracy) is not None
        }
        whole = {seed: keys for seed, keys in runs.items() if all(key in found for key in keys)}
        if not whole:
            parts = ("its long-tailed run", "A_v (softmax, balanced)", "A_b (its own balanced run)")
            lacking = [
                part
                for i, part in enumerate(parts)
                if not any(keys[i] in found for keys in runs.values())
            ]
            return none(
                f"UA and RA lack {' and '.join(lacking or ['a seed that has all three runs'])}."
            )
        accuracy, vanilla, balanced = (
            [found[keys[i]] for keys in whole.values()] for i in range(3)
        )
        if not any((*vanilla, *balanced)):
            return none("UA is zero: no balanced run got an image right.")
        result = relative_accuracy(accuracy, vanilla, balanced)
        n = len(whole)
        state: State = "complete" if n == planned else "partial"
        used = tuple(dict.fromkeys(key for keys in whole.values() for key in keys))
        failed = sum(any(key in self.failed for key in keys) for keys in runs.values())
        return _in_percent(
            result, Estimate(n=n, planned=planned, state=state, failed=failed, keys=used)
        )


def _in_percent(result: Relative, seeds: Estimate) -> tuple[Estimate, Estimate]:
    upper, interval = result.upper, result.interval
    ua = replace(seeds, mean=100 * upper.mean, std=None if upper.std is None else 100 * upper.std)
    scaled = None if interval is None else (100 * interval[0], 100 * interval[1])
    return ua, replace(seeds, mean=100 * result.relative, interval=scaled)


def ad_hoc_records(plan: Plan, records: Mapping[str, Stored]) -> list[Record]:
    """Return the records of a grid whose settings the command line overrode, sorted.

    Experts on a subset and what has no test are left out: they are there for others.
    """
    found = (stored.record for key, stored in records.items() if key not in plan.jobs)
    mine = [
        record
        for record in found
        if record.job.ad_hoc and record.grid == plan.grid.name
        if record.job.subset == "all" and record.test is not None
    ]
    return sorted(mine, key=lambda record: (*coordinates(record.job), record.key))
