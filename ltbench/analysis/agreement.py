"""Agreement of our order of methods with a published table's.

A cheap setting stands for an expensive one as far as it puts methods into the same order:
Spearman's rho and Kendall's tau-b between both accuracies, with bootstrap intervals over methods
and seeds. It is the one place where published numbers of another recipe and image copy are read;
they fill no cell.
"""

import csv
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ltbench.analysis.published import REFERENCE, published_numbers
from ltbench.analysis.runs import HPARAM_PREFIX, Row, table_of_runs
from ltbench.analysis.statistics import RESAMPLES, percentile_interval
from ltbench.config.base import Model, Name
from ltbench.config.errors import Location
from ltbench.config.files import available
from ltbench.config.hparams import HParamResolver
from ltbench.config.job import Job
from ltbench.config.load import load_recipe
from ltbench.config.registry import load_registry
from ltbench.config.validation import validate
from ltbench.config.yaml_file import read_yaml
from ltbench.core.exact import in_units, mean, measured
from ltbench.runs.store import Stored

Floats = NDArray[np.float64]
M = TypeVar("M", bound=Model)

FEWEST: Final = 3
"""Methods that an order needs."""

COUNTED: Final = ("correct", "images")
"""Columns of a history with counts by class."""

COPIED: Final = ("split", "subset", "auxiliary", "recipe", "method", "init_from")
"""Columns of a history that are those of the table of runs."""

NOISE: Final = Fraction(1)
"""Points of noise on the published accuracies that the ceiling is also given for."""


class ReferenceRow(Model):
    """A row that a published table shares with ours.

    Attributes:
        published: its name in the published table.
        hparams: those that tell variants of one method apart.
        init_from: the method that stage 1 trains.
    """

    published: str
    method: Name
    hparams: dict[str, Any] = Field(default_factory=dict)
    init_from: str = ""

    def matches(self, run: Mapping[str, Any]) -> bool:
        """Return whether a run is of this variant, on all images."""
        hparams = {name: run.get(f"{HPARAM_PREFIX}{name}") for name in self.hparams}
        whole = (run["subset"], run["auxiliary"], run["overrides"]) == ("all", "", "")
        return whole and self.names(run["method"], run["init_from"], hparams)

    def names(self, method: str, init_from: str, hparams: Mapping[str, Any]) -> bool:
        """Return whether it names a variant."""
        return (method, init_from) == (self.method, self.init_from) and all(
            hparams.get(name) == value for name, value in self.hparams.items()
        )


class ReferenceTable(Model):
    """A published table and the rows that it shares with ours.

    Attributes:
        ours: names of our datasets that stand for its own.
        ceiling: another ratio of the same table, whose order says how well an order can repeat.
    """

    name: Name
    title: str
    sources: tuple[str, ...]
    dataset: str
    imbalance_ratio: int
    ours: tuple[Name, ...] = Field(min_length=1)
    ceiling: int
    rows: tuple[ReferenceRow, ...] = Field(min_length=FEWEST)

    def covers(self, dataset: str, imbalance_ratio: float | None, split: str) -> bool:
        """Return whether runs on a dataset are comparable to it."""
        setting = (dataset in self.ours, imbalance_ratio, split)
        return setting == (True, self.imbalance_ratio, "longtailed")

    def accuracies(self, imbalance_ratio: int) -> list[Fraction]:
        """Return the published accuracies of the rows under a ratio, in percent."""
        found = {
            figure.method: figure.value
            for figure in published_numbers()
            if (figure.dataset, figure.ratio) == (self.dataset, str(imbalance_ratio))
            and figure.metric == "acc"
            and figure.source in self.sources
        }
        return [found[row.published] for row in self.rows]


class AuthorsRun(Model):
    """Test accuracies of the authors' runs and ours, in percent."""

    method: Name
    theirs: tuple[float, ...] = Field(min_length=1)
    ours: tuple[float, ...] = Field(min_length=1)

    @property
    def means(self) -> tuple[Fraction, Fraction]:
        """The mean of theirs and of ours, in percent."""
        theirs, ours = (mean([*map(measured, runs)]) for runs in (self.theirs, self.ours))
        return theirs, ours


class AuthorsRuns(Model):
    """Whole training runs of the authors' code beside ours, under one recipe."""

    recipe: str
    runs: tuple[AuthorsRun, ...] = Field(min_length=1)


class _Tables(Model):
    tables: tuple[ReferenceTable, ...]


@dataclass(frozen=True)
class Agreement:
    """Rank correlation of two orders of methods.

    Attributes:
        methods, seeds: numbers of both that the order is computed from.
        rho, tau: Spearman's and Kendall's (tau-b) coefficient.
        rho_interval, tau_interval: 95 % bootstrap intervals over methods and seeds.
    """

    methods: int
    seeds: int
    rho: Fraction
    tau: Fraction
    rho_interval: tuple[Fraction, Fraction]
    tau_interval: tuple[Fraction, Fraction]


def _read_reference(name: str, kind: type[M]) -> M:
    """Read a file of `reference/`.

    Raises:
        ConfigError: for a file that is not of that form.
    """
    value, locate = read_yaml(REFERENCE / name)
    return validate(kind, value, Location(name, locate))


@cache
def authors_runs() -> AuthorsRuns:
    """Return the runs of `reference/authors_runs.yaml`."""
    return _read_reference("authors_runs.yaml", AuthorsRuns)


def published_spread(
    method: str, dataset: str, imbalance_ratio: int, network: str
) -> dict[str, Fraction]:
    """Return the published accuracies of one cell by source, the lowest first."""
    found = {
        number.source: number.value
        for number in published_numbers()
        if (number.method, number.dataset, number.ratio, number.network, number.metric)
        == (method, dataset, str(imbalance_ratio), network, "acc")
    }
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


@cache
def reference_tables() -> tuple[ReferenceTable, ...]:
    """Return the tables of `reference/agreement.yaml`."""
    return _read_reference("agreement.yaml", _Tables).tables


def scores_of(
    table: ReferenceTable, runs: Iterable[Mapping[str, Any]]
) -> dict[str, list[Fraction]]:
    """Return our accuracies by published name, one per common seed.

    Args:
        table: the published table.
        runs: rows of the table of runs, of one board and split; accuracies as fractions.
    """
    found: dict[str, dict[int, Fraction]] = {}
    for run in runs:
        row = next((row for row in table.rows if row.matches(run)), None)
        if row is not None and run["acc"] is not None:
            found.setdefault(row.published, {})[run["seed"]] = run["acc"]
    seeds = sorted(set.intersection(*map(set, found.values()))) if found else []
    return {
        row.published: [found[row.published][seed] for seed in seeds]
        for row in table.rows
        if row.published in found and seeds
    }


def boards_of(
    table: ReferenceTable, runs: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Return the long-tailed runs comparable to a table, by dataset and recipe."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        if table.covers(run["dataset_name"], run["imbalance_ratio"], run["split"]):
            found.setdefault((run["dataset"], run["recipe"]), []).append(run)
    return found


def comparable_runs(records: Mapping[str, Stored]) -> tuple[Row, ...]:
    """Return the runs that are comparable to a published table.

    These are on the same dataset and split, with the hyper-parameters of a row and else those of
    the method, and with the stages of the recipe of that name, if there is one; rows of the table
    of runs, accuracies as fractions.
    """
    registry = load_registry()
    resolver = HParamResolver(registry)
    used = {stored.record.job.recipe_name for stored in records.values()}
    recipes = {name: load_recipe(name) for name in used.intersection(available("recipes"))}

    def is_tuned(job: Job) -> bool:
        ours, planned = job.recipe, recipes.get(job.recipe_name, job.recipe)
        return (ours.stage1, ours.stage2) != (planned.stage1, planned.stage2)

    def is_row(job: Job, row: ReferenceRow) -> bool:
        if row.method != job.method or row.method not in registry:
            return False
        values = resolver.resolve(row.method, row.hparams, job.dataset).values
        return job.hparams == registry[row.method].keyed(values)

    jobs = {key: stored.record.job for key, stored in records.items()}
    covered = {
        key: records[key]
        for key, job in jobs.items()
        if job.dataset.tested_on == "test"
        and not is_tuned(job)
        and any(
            table.covers(job.dataset.name, job.dataset.imbalance_ratio, job.split)
            for table in reference_tables()
        )
    }
    rows = [row for table in reference_tables() for row in table.rows]
    runs = table_of_runs(covered).exact  # of all: what a run begins with is known by its record
    return tuple(run for run in runs if any(is_row(jobs[run["key"]], row) for row in rows))


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the runs of a board kept as counts by class.

    Raises:
        ConfigError: for a file that is not of that form.
    """
    runs = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                runs.append(_run(row))
            except (ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
                where = Location(f"{path}:{line}")
                raise where.error("malformed", f"is no line of such a history: {error}") from error
    return runs


def _run(row: Mapping[str, str]) -> dict[str, Any]:
    """Return a run from a line of a history."""
    correct, images = (sum(map(int, row[name].split())) for name in COUNTED)
    return {
        "dataset_name": row["dataset"],
        "dataset": f"{row['dataset']}_r{row['imbalance_ratio']}",
        "imbalance_ratio": float(row["imbalance_ratio"]),
        "overrides": "",
        "seed": int(row["seed"]),
        "acc": Fraction(100 * correct, images),
        **{name: row[name] for name in COPIED},
        **{f"{HPARAM_PREFIX}{name}": value for name, value in json.loads(row["hparams"]).items()},
    }


def agreement(published: Sequence[Fraction], ours: Sequence[Sequence[Fraction]]) -> Agreement:
    """Return how far two orders of methods agree.

    Args:
        published: accuracy of each method.
        ours: accuracies of each method [methods, seeds], in the same order.

    Raises:
        ValueError: for fewer than three methods.
    """
    if len(published) < FEWEST:
        raise ValueError(f"an order has at least {FEWEST} methods, got {len(published)}")
    methods, seeds = len(ours), len(ours[0])
    theirs = np.array(in_units(published)[0])
    counts = np.array(in_units([score for of_one in ours for score in of_one])[0])
    counts = counts.reshape(methods, seeds)
    totals = counts.sum(axis=1)
    draws = np.random.default_rng(0)
    chosen = draws.integers(methods, size=(RESAMPLES, methods))
    runs = draws.integers(seeds, size=(RESAMPLES, seeds))
    x, y = theirs[chosen], counts[chosen[:, :, None], runs[:, None, :]].sum(axis=2)
    ordered = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    (rho,), (tau,) = _coefficients(theirs[None], totals[None])
    intervals = map(percentile_interval, _coefficients(x[ordered], y[ordered]))
    return Agreement(methods, seeds, measured(rho), measured(tau), *intervals)


def is_order(accuracies: Collection[Fraction]) -> bool:
    """Return whether accuracies order enough methods: they do not all tie."""
    return len(accuracies) >= FEWEST and len(set(accuracies)) > 1


def rank_correlation(published: Sequence[Fraction], ours: Sequence[Fraction]) -> Fraction:
    """Return Spearman's rho of two orders of methods."""
    x, y = (np.array(in_units(each)[0])[None] for each in (published, ours))
    return measured(_coefficients(x, y)[0].item())


def without_one(
    published: Mapping[str, Fraction], ours: Mapping[str, Fraction]
) -> tuple[str, Fraction] | None:
    """Return the method furthest off, and Spearman's rho without it.

    It is the one without which rho is highest.

    Args:
        published: accuracy of each method.
        ours: the same, of the same methods.

    Returns:
        None if the other methods are too few for an order.
    """
    found: dict[str, Fraction] = {}
    for left_out in published:
        names = [name for name in published if name != left_out]
        theirs, own = ([values[name] for name in names] for values in (published, ours))
        if is_order(theirs) and is_order(own):
            found[left_out] = rank_correlation(theirs, own)
    return max(found.items(), key=lambda pair: pair[1], default=None)


def noise_interval(published: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """Return the interval of rho under noise of `NOISE` points."""
    values = np.array([float(value) for value in published])
    noise = np.random.default_rng(0).standard_normal((RESAMPLES, len(values))) * float(NOISE)
    rho, _ = _coefficients(np.broadcast_to(values, noise.shape), values + noise)
    return percentile_interval(rho)


def _coefficients(x: NDArray[Any], y: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return Spearman's rho and Kendall's tau-b of each row [N, methods].

    Both correlate the differences of all pairs: of their ranks, and the signs of these. Sums are of
    integers, so that they are exact.
    """
    signs = [np.greater(p, q).astype(np.int64) - np.less(p, q) for p, q in map(_pairs, (x, y))]
    ranks = (each.sum(axis=2) for each in signs)  # doubled, and less a constant
    differences = (np.subtract(p, q) for p, q in map(_pairs, ranks))
    return _cosine(*differences), _cosine(*signs)


def _pairs(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the first and second values of all pairs of a row."""
    return values[:, :, None], values[:, None, :]


def _cosine(a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
    products, squares, others = ((p * q).sum(axis=(1, 2)) for p, q in ((a, b), (a, a), (b, b)))
    cosine: Floats = products / np.sqrt(1.0 * squares * others)
    return cosine
