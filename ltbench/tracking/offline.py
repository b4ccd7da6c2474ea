"""Runs that were logged offline: list and sync them."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ltbench.runs.run_dir import RunDirectory


def unsynced_runs(run_dir: RunDirectory, keys: Iterable[str] | None = None) -> list[Path]:
    """Return the folders of unsynced offline runs, attempts in order.

    Args:
        run_dir: the run folder.
        keys: of the jobs; None for all of the run folder.
    """
    jobs = run_dir.jobs
    names = sorted(path.name for path in jobs.glob("*/")) if keys is None else keys
    return [
        run
        for name in names
        for run in sorted(jobs.joinpath(name, "wandb").glob("offline-run-*"))  # by time
        if not is_synced(run)
    ]


def is_synced(run: Path) -> bool:
    """Return whether `wandb sync` has marked an offline run as synced."""
    return any(run.glob("*.wandb.synced"))


def sync(runs: Sequence[Path], logs: Path) -> list[Path]:
    """Sync offline runs with `wandb sync`; return those that were synced.

    Attempts at one job share its key as run id, and are synced in order.

    Args:
        runs: folders of the runs.
        logs: folder in which the command creates its `wandb` folder of logs.
    """
    if runs:
        command = [sys.executable, "-m", "wandb", "sync", *map(str, runs)]
        environment = {"WANDB_DIR": str(logs)} | os.environ
        subprocess.run(command, check=False, env=environment)  # noqa: S603 - our own arguments
    return [run for run in runs if is_synced(run)]
