"""Comparison of the server's runs with the records."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ltbench.runs.record import Record
from ltbench.tracking.wandb import data_hashes, logged_in, project, summary_metrics

TIMEOUT = 20
"""Seconds to wait for the server."""

RUNS_PER_REQUEST = 200


@dataclass(frozen=True)
class MirroredRun:
    """A run on the server; its id is the job's key."""

    key: str
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


def pull_runs(
    keys: Iterable[str], entity: str | None = None, timeout: int = TIMEOUT
) -> list[MirroredRun]:
    """Return the runs of jobs, without their histories.

    Args:
        keys: of the jobs, whichever grid trained them.
        entity: user or team that owns the project; None for the user's default.
        timeout: seconds to wait for the server.

    Raises:
        PermissionError: if nobody is logged in.
        ConnectionError: if the request fails, with the reason.
    """
    import wandb

    if not logged_in():
        raise PermissionError("not logged in to Weights & Biases (`wandb login`)")
    path = project() if entity is None else f"{entity}/{project()}"
    ids = list(keys)
    firsts = range(0, len(ids), RUNS_PER_REQUEST)
    try:
        api = wandb.Api(timeout=timeout)
        batches = (ids[first : first + RUNS_PER_REQUEST] for first in firsts)
        return [run for batch in batches for run in _runs(api, path, batch)]
    except Exception as error:  # the package's errors have no common base class
        reason = f"{type(error).__name__}: {error}"
        raise ConnectionError(f"Weights & Biases, reading {path}: {reason}") from error


def _runs(api: Any, path: str, ids: Sequence[str]) -> list[MirroredRun]:
    """Return the runs with these ids, which filters call `name`."""
    runs = api.runs(path, filters={"name": {"$in": ids}}, per_page=RUNS_PER_REQUEST)
    return [MirroredRun(run.id, run.state, dict(run.config), dict(run.summary)) for run in runs]


def disagreements(
    runs: Iterable[MirroredRun], records: Mapping[str, Record]
) -> dict[str, list[str]]:
    """Return the disagreements of runs and records, by key.

    Args:
        runs: of the jobs of a grid.
        records: of the same grid by key.
    """
    differences = {run.key: _compare(run, records.get(run.key)) for run in runs}
    return {key: lines for key, lines in differences.items() if lines}


def _compare(run: MirroredRun, record: Record | None) -> list[str]:
    if record is None:
        return ["finished on the server, no record here"] if run.state == "finished" else []
    if run.state != "finished":
        return [f"is {run.state} on the server, has a record here"]
    lines = [
        f"{name} is {run.config.get(name)} on the server, {value} here"
        for name, value in data_hashes(record).items()
        if run.config.get(name) != value
    ]
    for name, value in summary_metrics(record).items():
        remote = run.summary.get(name)
        if remote is None and name != "acc":
            continue  # a newer metric, or one of a plugin
        if not isinstance(remote, int | float) or not math.isclose(remote, value, abs_tol=1e-9):
            lines.append(f"{name} is {remote} on the server, {value} here")
    return lines
