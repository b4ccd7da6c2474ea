"""Runs as one long-form table, a row a record, and what they come to over seeds.

Metrics are in percent. They are kept exact and become floats where a row is handed out; a CSV file
has them to four decimals. UA and RA take several runs and stay with the boards.
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
from ltbench.config.keys import KEY_LENGTH, content_hash
from ltbench.config.models import Job
from ltbench.core.exact import fixed
from ltbench.core.files import write_atomically
from ltbench.core.text import escape_csv
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import RecordStore, Stored

if TYPE_CHECKING:
    import pandas as pd

DECIMALS: Final = 4
"""Of a percentage in `runs.csv`: more than test images can tell apart."""

HPARAMS: Final = "hp."
"""Begins the column of a hyper-parameter."""

Row = dict[str, Any]

SETTINGS: dict[str, Callable[[Record], object]] = {
    "grid": lambda record: record.grid,
    "dataset": lambda record: record.job.dataset.id,
    "dataset_name": lambda record: record.job.dataset.name,
    "imbalance_ratio": lambda record: record.job.dataset.imbalance_ratio,
    "imbalance_type": lambda record: record.job.dataset.imbalance_type,
    "split": lambda record: record.job.split,
    "subset": lambda record: record.job.subset,
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
"""What a run shares with those that differ in their seed alone."""

MEASURED: dict[str, Callable[[Record], object]] = {
    "train_seconds": lambda record: _rounded(record.cost.train_seconds),
    "test_seconds": lambda record: _rounded(record.cost.test_seconds),
    "cpu_seconds": lambda record: _rounded(record.cost.cpu_seconds),
    "parameters": lambda record: record.weights.parameters,
    "parameters_trained": lambda record: record.weights.trained,
    "parameters_read": lambda record: record.weights.read,
    "commit": lambda record: record.environment.commit,
}

DESCRIBED: Final = ("key", "config", *SETTINGS, "init_from", "seed")
TAKEN: Final = (*DESCRIBED, *MEASURED, "provenance", "n")
"""Columns that no metric may have the name of."""


@dataclass(frozen=True)
class Rows:
    """Rows of equal columns, to be iterated over as plain dicts.

    Attributes:
        columns: in their order.
        exact: the rows, metrics in percent as fractions.
    """

    columns: tuple[str, ...]
    exact: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.exact)

    def __iter__(self) -> Iterator[Row]:
        for row in self.exact:
            yield {name: _plain(row[name]) for name in self.columns}

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a pandas DataFrame.

        Raises:
            ImportError: where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_pandas needs pandas, which is not installed: pip install pandas"
            ) from error
        return pd.DataFrame(list(self), columns=list(self.columns))

    def csv(self) -> str:
        """Return the rows as CSV, quoted by RFC 4180; no cell is a formula to a spreadsheet."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(escape_csv, self.columns))
        writer.writerows([_written(row[name]) for name in self.columns] for row in self.exact)
        return text.getvalue()


class Runs(Rows):
    """The table of runs, a row a record."""

    def where(self, **wanted: object) -> "Runs":
        """Return the runs whose columns have the values named; a list has those to choose from.

        Hyper-parameters are named as their columns are: `where(**{"hp.max_margin": 0.5})`.

        Raises:
            ConfigError: for names that are no column.
        """
        location = Location("where")
        raise_all(
            location.at(name).problem(
                "unknown-key", "no such column", did_you_mean(name, self.columns)
            )
            for name in wanted
            if name not in self.columns
        )
        chosen = {
            name: list(value) if isinstance(value, list | tuple | set | range) else [value]
            for name, value in wanted.items()
        }
        kept = [
            row
            for row in self.exact
            if all(_plain(row[name]) in values for name, values in chosen.items())
        ]
        return Runs(self.columns, tuple(kept))

    def summary(self) -> Rows:
        """Return a row for all runs that differ in their seed alone: their number, and metrics.

        A metric has its mean and, behind `_std`, its sample standard deviation; neither where a run
        lacks it, and no deviation of one run.
        """
        groups: dict[str, list[Row]] = {}
        for row in self.exact:
            groups.setdefault(row["config"], []).append(row)
        metrics = [metric.key for metric in run_metrics() if metric.key in self.columns]
        hparams = [name for name in self.columns if name.startswith(HPARAMS)]
        shared = ["config", *SETTINGS, "init_from", *hparams]
        both = [name for key in metrics for name in (key, f"{key}_std")]
        rows = (
            {name: rows[0][name] for name in shared} | {"n": len(rows)} | _over_seeds(rows, metrics)
            for rows in groups.values()
        )
        return Rows((*shared, "n", *both), tuple(rows))


def _over_seeds(rows: Sequence[Row], metrics: Iterable[str]) -> Row:
    found: Row = {}
    for key in metrics:
        known = [row[key] for row in rows if row[key] is not None]
        summary = summarize(known) if len(known) == len(rows) else None
        found[key] = summary and summary.mean
        found[f"{key}_std"] = summary and summary.std
    return found


def table_of_runs(records: Mapping[str, Stored]) -> Runs:
    """Return the table of records, sorted by dataset, recipe, split, method and seed."""
    history = _History(records)
    rows = sorted((_row(stored, history) for stored in records.values()), key=_place)
    hparams = sorted({name for row in rows for name in row if name.startswith(HPARAMS)})
    metrics = [metric.key for metric in run_metrics()]
    columns = (*DESCRIBED, *metrics, *hparams, *MEASURED, "provenance")
    return Runs(columns, tuple({name: row.get(name) for name in columns} for row in rows))


def _row(stored: Stored, history: "_History") -> Row:
    record = stored.record
    values = metric_values(record).items()
    return {
        "key": record.key,
        "config": history.config(record.key),
        **{name: of(record) for name, of in SETTINGS.items()},
        "init_from": history.start(record.job),
        "seed": record.job.seed,
        **{key: None if value is None else 100 * value for key, value in values},
        **{f"{HPARAMS}{name}": value for name, value in record.job.hparams.items()},
        **{name: of(record) for name, of in MEASURED.items()},
        "provenance": stored.provenance,
    }


def _place(row: Row) -> tuple[Any, ...]:
    names = ("dataset", "recipe", "split", "method", "label", "stage", "config", "seed", "key")
    return tuple(row[name] for name in names)


class _History:
    """Says what the jobs of records were built on, as far as these have records themselves."""

    def __init__(self, records: Mapping[str, Stored]) -> None:
        self.jobs = {key: stored.record.job for key, stored in records.items()}
        self.configs: dict[str, str] = {}

    def config(self, key: str) -> str:
        """Return a hash of a job and all that it is built on, whatever their seeds."""
        if key in self.jobs and key not in self.configs:
            job = self.jobs[key]
            start = [self.config(each) for each in job.depends_on]
            settings = {**job.settings(), "seed": None, "init_from": start}
            self.configs[key] = content_hash(settings)[:KEY_LENGTH]
        return self.configs.get(key, key)

    def start(self, job: Job) -> str:
        """Return the methods whose weights a job starts or learns from, its own left out."""
        before = [self.jobs[key] for key in job.depends_on if key in self.jobs]
        own = next((each for each in before if each.method == job.method), None)
        return self.start(own) if own else ", ".join(dict.fromkeys(map(self._lineage, before)))

    def _lineage(self, job: Job) -> str:
        start = self.start(job)
        return f"{start}+{job.method}" if start else job.method


def read_runs(published: Path, runs: Path) -> Runs:
    """Return the table of published and run records; warn of bad files.

    Raises:
        FileNotFoundError: where there is neither folder.
    """
    if not published.is_dir() and not runs.is_dir():
        raise FileNotFoundError(f"no records: there is neither a folder {published} nor {runs}")
    loaded = RecordStore(published, RunDirectory(runs).records).load()
    if loaded.bad:
        first = loaded.bad[0]
        message = f"{len(loaded.bad)} files are no records, as {first.path}: {first.reason}"
        warnings.warn(message, stacklevel=3)
    return table_of_runs(loaded.records)


def write_runs(records: Mapping[str, Stored], path: Path) -> Path:
    """Write the table of records as CSV; return its path."""
    write_atomically(path, table_of_runs(records).csv().encode(), durable=False)
    return path


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Fraction) else value


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case Fraction():
            return fixed(value, DECIMALS)
        case str():
            return escape_csv(value)
        case _:
            return json.dumps(value)
