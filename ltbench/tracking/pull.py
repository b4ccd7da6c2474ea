"""Runs read back from the server and held against the records, which are what counts."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ltbench.runs.record import Record
from ltbench.tracking.wandb import accuracies, hashes, logged_in, project

PATIENCE = 20
"""Seconds that the server has for an answer."""

PAGE = 200
"""Runs asked for at a time."""


@dataclass(frozen=True)
class MirroredRun:
    """What the server knows of a run: its id is the job's key."""

    key: str
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


def pull_runs(group: str, entity: str | None = None, patience: int = PATIENCE) -> list[MirroredRun]:
    """Return the runs of a group, without their histories.

    Args:
        group: name of the grid.
        entity: user or team that has the project; None for the user's default.
        patience: seconds that the server has for an answer.

    Raises:
        PermissionError: where nobody is logged in.
        ConnectionError: saying why the server did not answer as it should.
    """
    import wandb

    if not logged_in():
        raise PermissionError("not logged in to Weights & Biases (`wandb login`)")
    path = project() if entity is None else f"{entity}/{project()}"
    try:
        api = wandb.Api(timeout=patience)
        found = api.runs(path, filters={"group": group}, per_page=PAGE)
        return [MirroredRun(r.id, r.state, dict(r.config), dict(r.summary)) for r in found]
    except Exception as error:  # what the package raises has no common base
        reason = f"{type(error).__name__}: {error}"
        raise ConnectionError(f"Weights & Biases, reading {path}: {reason}") from error


def disagreements(
    runs: Iterable[MirroredRun], records: Mapping[str, Record]
) -> dict[str, list[str]]:
    """Return what runs and records contradict each other in, by key.

    Args:
        runs: of a group.
        records: of the same grid by key.
    """
    found = {run.key: _compared(run, records.get(run.key)) for run in runs}
    return {key: lines for key, lines in found.items() if lines}


def _compared(run: MirroredRun, record: Record | None) -> list[str]:
    if record is None:
        return ["finished there, no record here"] if run.state == "finished" else []
    if run.state != "finished":
        return [f"is {run.state} there, has a record here"]
    lines = [
        f"{name} is {run.config.get(name)} there, {value} here"
        for name, value in hashes(record).items()
        if run.config.get(name) != value
    ]
    for name, value in accuracies(record).items():
        theirs = run.summary.get(name)
        if theirs is None and name != "acc":
            continue  # a metric that came later, or one of a plugin
        if not isinstance(theirs, int | float) or not math.isclose(theirs, value, abs_tol=1e-9):
            lines.append(f"{name} is {theirs} there, {value} here")
    return lines
