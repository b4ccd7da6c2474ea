"""The long-form table of runs, and its summary over seeds.

The table has one row per record. Metrics are in percent: exact fractions inside, floats in the rows
that a caller gets, four decimals in CSV. UA and RA need several runs and are computed per board
(`result_set`).
"""

import csv
import io
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ltbench.analysis.metrics import metric_values, run_metrics
from ltbench.analysis.statistics import summarize
from ltbench.config.errors import Location, did_you_mean, raise_all
from ltbench.config.job import Job
from ltbench.config.keys import KEY_LENGTH, canonical, mapping_hash
from ltbench.core.exact import fixed, percent
from ltbench.core.files import write_atomically
from ltbench.core.garbage import gc_paused
from ltbench.core.text import escape_csv
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import RecordStore, Stored

if TYPE_CHECKING:
    import pandas as pd

CSV_DECIMALS: Final = 4
"""Decimals of a percentage in `runs.csv`: finer than one test image."""

HPARAM_PREFIX: Final = "hp."
"""Prefix of the column of a hyper-parameter."""

STAGE_FIELDS: Final = "recipe."
"""Prefix of the column of a field of a recipe's stages, if runs under one recipe differ in it."""

STAGES: Final = {"stage1", "stage2"}

Row = dict[str, Any]

SETTINGS: dict[str, Callable[[Record], object]] = {
    "grid": lambda record: record.grid,
    "dataset": lambda record: record.job.dataset.id,
    "dataset_name": lambda record: record.job.dataset.name,
    "imbalance_ratio": lambda record: record.job.dataset.imbalance_ratio,
    "imbalance_type": lambda record: record.job.dataset.imbalance_type,
    "split": lambda record: record.job.split,
    "subset": lambda record: record.job.subset,
    "auxiliary": lambda record: a.id if (a := record.job.dataset.auxiliary) else "",
    "method": lambda record: record.method,
    "label": lambda record: record.job.label,
    "version": lambda record: record.job.version,
    "stage": lambda record: record.job.stage,
    "recipe": lambda record: record.job.recipe_name,
    "network": lambda record: record.job.recipe.network,
    "batch_size": lambda record: record.job.recipe.batch_size,
    "epochs": lambda record: record.job.stage_recipe.epochs if record.job.stage_recipe else 0,
    "overrides": lambda record: ", ".join(record.job.overrides),
}
"""Columns that are equal for runs that differ in their seed alone."""

MEASURED: dict[str, Callable[[Record], object]] = {
    "train_seconds": lambda record: round(record.cost.train_seconds, 3),
    "test_seconds": lambda record: round(record.cost.test_seconds, 3),
    "cpu_seconds": lambda record: round(record.cost.cpu_seconds, 3),
    "parameters": lambda record: record.weights.parameters,
    "parameters_trained": lambda record: record.weights.trained,
    "parameters_read": lambda record: record.weights.read,
    "commit": lambda record: record.environment.commit,
}

DESCRIBED: Final = ("key", "config", *SETTINGS, "init_from", "seed")
TAKEN: Final = (*DESCRIBED, *MEASURED, "provenance", "n")
"""Column names that are not available to metrics."""


@dataclass(frozen=True, repr=False)
class Rows:
    """Rows of a table, each a plain dict.

    Attributes:
        columns: names, in order.
        exact: the rows, metrics in percent as fractions.
    """

    columns: tuple[str, ...]
    exact: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.exact)

    def __getitem__(self, position: int) -> Row:
        return {name: _plain(self.exact[position][name]) for name in self.columns}

    def __iter__(self) -> Iterator[Row]:
        return map(self.__getitem__, range(len(self)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows, {len(self.columns)} columns>"

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a pandas DataFrame.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_pandas needs pandas, which is not installed: pip install pandas"
            ) from error
        return pd.DataFrame(list(self), columns=list(self.columns))

    def csv(self) -> str:
        """Return the rows as CSV (RFC 4180), without spreadsheet formulas."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(escape_csv, self.columns))
        writer.writerows([_written(row[name]) for name in self.columns] for row in self.exact)
        return text.getvalue()


class Runs(Rows):
    """The table of runs, one row per record."""

    def where(self, **filters: object) -> "Runs":
        """Return the runs whose columns have the given values.

        Args:
            filters: a value per column, or a list of allowed values. The column of a
                hyper-parameter has a dot in its name: `where(**{"hp.max_margin": 0.5})`.

        Raises:
            ConfigError: for names that are not columns.
        """
        location = Location("where")
        raise_all(
            location.at(name).problem(
                "unknown-key", "no such column", did_you_mean(name, self.columns)
            )
            for name in filters
            if name not in self.columns
        )
        allowed = {
            name: list(value) if isinstance(value, list | tuple | set | range) else [value]
            for name, value in filters.items()
        }
        kept = [
            row
            for row in self.exact
            if all(_plain(row[name]) in values for name, values in allowed.items())
        ]
        return Runs(self.columns, tuple(kept))

    def summary(self) -> Rows:
        """Return one row per configuration, with means and deviations over seeds.

        Column `n` is the number of runs; each metric has its mean and, in `<metric>_std`, its
        sample standard deviation. Both are None if a run lacks the metric, the latter for one run.
        """
        groups: dict[str, list[Row]] = {}
        for row in self.exact:
            groups.setdefault(row["config"], []).append(row)
        metrics = [metric.key for metric in run_metrics() if metric.key in self.columns]
        changed = [name for name in self.columns if name.startswith((STAGE_FIELDS, HPARAM_PREFIX))]
        shared = ["config", *SETTINGS, "init_from", *changed]
        statistics = [name for key in metrics for name in (key, f"{key}_std")]
        rows = (
            {name: rows[0][name] for name in shared} | {"n": len(rows)} | _over_seeds(rows, metrics)
            for rows in groups.values()
        )
        return Rows((*shared, "n", *statistics), tuple(rows))


def _over_seeds(rows: Sequence[Row], metrics: Iterable[str]) -> Row:
    columns: Row = {}
    for key in metrics:
        values = [row[key] for row in rows if row[key] is not None]
        summary = summarize(values) if len(values) == len(rows) else None
        columns[key] = summary and summary.mean
        columns[f"{key}_std"] = summary and summary.std
    return columns


def table_of_runs(records: Mapping[str, Stored]) -> Runs:
    """Return the table of runs of records.

    Sorted by dataset, recipe, split, method, label, stage, configuration and seed.
    """
    dependencies = _Dependencies(records)
    rows = sorted((_row(stored, dependencies) for stored in records.values()), key=_sort_key)
    hparams = sorted({name for row in rows for name in row if name.startswith(HPARAM_PREFIX)})
    metrics = [metric.key for metric in run_metrics()]
    columns = (*DESCRIBED, *metrics, *_changed_fields(rows), *hparams, *MEASURED, "provenance")
    return Runs(columns, tuple({name: row.get(name) for name in columns} for row in rows))


def _changed_fields(rows: Iterable[Row]) -> list[str]:
    """Return the stage fields in which runs under a recipe differ."""
    values: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith(STAGE_FIELDS):
                values.setdefault((row["recipe"], name), set()).add(repr(value))
    return sorted({name for (_, name), found in values.items() if len(found) > 1})


def _stage_fields(
    fields: Mapping[str, Any], prefix: str = STAGE_FIELDS
) -> Iterator[tuple[str, Any]]:
    """Yield column and value of each field of a recipe's stages."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _stage_fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _row(stored: Stored, dependencies: "_Dependencies") -> Row:
    record = stored.record
    values = metric_values(record).items()
    return {
        "key": record.key,
        "config": dependencies.config(record.key),
        **{name: of(record) for name, of in SETTINGS.items()},
        "init_from": dependencies.init_from(record.job),
        "seed": record.job.seed,
        **{key: None if value is None else percent(value) for key, value in values},
        **dict(_stage_fields(record.job.recipe.model_dump(mode="json", include=STAGES))),
        **{f"{HPARAM_PREFIX}{name}": value for name, value in record.job.hparams.items()},
        **{name: of(record) for name, of in MEASURED.items()},
        "provenance": stored.provenance,
    }


def _sort_key(row: Row) -> tuple[Any, ...]:
    names = ("dataset", "recipe", "split", "method", "label", "stage", "config", "seed", "key")
    return tuple(row[name] for name in names)


class _Dependencies:
    """Dependencies of the recorded jobs, as far as these are recorded too."""

    def __init__(self, records: Mapping[str, Stored]) -> None:
        self.jobs = {key: stored.record.job for key, stored in records.items()}
        self.configs: dict[str, str] = {}

    def config(self, key: str) -> str:
        """Return a hash of a job and its dependencies without their seeds."""
        if key in self.jobs and key not in self.configs:
            job = self.jobs[key]
            depends_on = [self.config(each) for each in job.depends_on]
            others = {"seed": canonical(None), "depends_on": canonical(depends_on)}
            self.configs[key] = mapping_hash(job.key_texts() | others)[:KEY_LENGTH]
        return self.configs.get(key, key)

    def init_from(self, job: Job) -> str:
        """Return the methods whose weights a job needs, without its own.

        For example `softmax+crt`; several are separated by a comma.
        """
        needed = [self.jobs[key] for key in job.depends_on if key in self.jobs]
        earlier_stage = next((each for each in needed if each.method == job.method), None)
        if earlier_stage:
            return self.init_from(earlier_stage)
        return ", ".join(dict.fromkeys(map(self._method_path, needed)))

    def _method_path(self, job: Job) -> str:
        init_from = self.init_from(job)
        return f"{init_from}+{job.method}" if init_from else job.method


def read_runs(published: Path, runs: Path) -> Runs:
    """Return the table of published and run records; warn of bad files.

    Raises:
        ValueError: if the first one is a run folder.
    """
    if RunDirectory(published).records.is_dir():
        raise ValueError(f"{published} is a run folder: pass it as runs={str(published)!r}")
    loaded = RecordStore(published, RunDirectory(runs).records).load()
    if loaded.bad:
        first = loaded.bad[0]
        message = (
            f"{len(loaded.bad)} files are not valid records, e.g. {first.path}: {first.reason}"
        )
        warnings.warn(message, stacklevel=3)
    return table_of_runs(loaded.records)


@gc_paused()
def write_runs(records: Mapping[str, Stored], path: Path) -> Path:
    """Write the table of runs as CSV; return its path."""
    write_atomically(path, table_of_runs(records).csv().encode(), durable=False)
    return path


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Fraction) else value


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case Fraction():
            return fixed(value, CSV_DECIMALS)
        case str():
            return escape_csv(value)
        case _:
            return json.dumps(value)
