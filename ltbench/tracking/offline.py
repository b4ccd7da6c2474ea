"""Runs that were logged offline: found in the folders of their jobs and pushed in order."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ltbench.runs.run_dir import RunDirectory


def unsynced_runs(run_dir: RunDirectory, keys: Iterable[str] | None = None) -> list[Path]:
    """Return the folders of offline runs that no server has, the attempts of each job in order.

    Args:
        run_dir: where the jobs are.
        keys: of the jobs; None for all there are.
    """
    jobs = run_dir.root / "jobs"
    names = sorted(path.name for path in jobs.glob("*/")) if keys is None else keys
    return [
        run
        for name in names
        for run in sorted(jobs.joinpath(name, "wandb").glob("offline-run-*"))  # by their start
        if not is_synced(run)
    ]


def is_synced(run: Path) -> bool:
    """Return whether the package has marked an offline run as pushed."""
    return any(run.glob("*.wandb.synced"))


def push(runs: Sequence[Path], logs: Path) -> list[Path]:
    """Push offline runs to the server by the package's own command; return those it took.

    Attempts at one job have its key for an id, and are pushed one after the other.

    Args:
        runs: their folders.
        logs: folder that the command writes its `wandb` folder of logs to.
    """
    if runs:
        command = [sys.executable, "-m", "wandb", "sync", *map(str, runs)]
        place = {"WANDB_DIR": str(logs)}
        subprocess.run(  # noqa: S603 - our own words and folders
            command, check=False, env=place | os.environ
        )
    return [run for run in runs if is_synced(run)]
