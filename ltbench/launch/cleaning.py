"""Removal of job folders that are no longer needed.

Every run first saves the list of its grid's jobs in the run folder, one file per edition of the
grid, so that grids given by path, edited, or changed by `--set` are known.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ltbench.config.errors import Location
from ltbench.config.keys import KEY_LENGTH, content_hash
from ltbench.config.planning import Plan
from ltbench.core.files import read_json, write_json
from ltbench.launch.slurm import query_statuses
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.runs.store import Stored, with_dependencies

KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


@dataclass(frozen=True)
class UnneededFolder:
    """An unneeded job folder, its size, and the job's title if known."""

    folder: JobFolder
    bytes: int
    title: str

    def remove(self) -> bool:
        """Remove the folder unless a process holds its job; return whether removed."""
        with self.folder.hold() as held:
            if held is not None:
                shutil.rmtree(self.folder.path)
            return held is not None


def save_plan(plan: Plan, run_dir: RunDirectory) -> None:
    """Save the list of a plan's jobs in the run folder."""
    jobs = {key: job.title for key, job in plan.jobs.items()}
    name = f"{plan.grid.name}-{content_hash(sorted(jobs))[:KEY_LENGTH]}.json"
    path = run_dir.plans / name
    if not path.exists():
        write_json(path, {"grid": plan.grid.name, "jobs": jobs})


def needed_jobs(
    plans: Iterable[Plan], records: Mapping[str, Stored], run_dir: RunDirectory
) -> set[str]:
    """Return the keys of all jobs that may still be needed.

    These are the jobs of the plans, of every saved plan, of published records, of records that are
    ad hoc or of no known grid, and those with a checkpoint; and all jobs that these depend on.

    Raises:
        ConfigError: if a saved plan is damaged.
    """
    plans = list(plans)
    keys = {key for plan in plans for key in plan.jobs}
    grids = {plan.grid.name for plan in plans}
    for path in sorted(run_dir.plans.glob("*.json")):
        match read_json(path):
            case {"grid": str(grid), "jobs": dict(jobs)}:
                keys |= jobs.keys()
                grids.add(grid)
            case _:
                message = "is damaged; nothing is removed, because it may name any job"
                raise Location(str(path)).error("unreadable", message)
    for key, stored in records.items():
        known = stored.record.grid in grids and not stored.record.job.ad_hoc
        if stored.provenance == "published" or not known:
            keys.add(key)
    keys |= {path.parent.parent.name for path in run_dir.root.glob("jobs/*/checkpoints/*.pt")}
    return set(with_dependencies(keys, records))


def unneeded_folders(
    needed: Iterable[str], records: Mapping[str, Stored], run_dir: RunDirectory
) -> list[UnneededFolder]:
    """Return the folders of jobs that are neither needed, running nor queued.

    Folders whose name is not a key, and links, are left alone.

    Raises:
        ConfigError: if the folder is not a run folder.
    """
    if not run_dir.jobs.is_dir():
        raise Location("--run-dir").error(
            "missing-file", f"{run_dir.root} is not a run folder: it has no folder `jobs`"
        )
    needed = set(needed)
    paths = {
        path.name: path
        for path in sorted(run_dir.jobs.iterdir())
        if KEY.fullmatch(path.name) and path.name not in needed
        if path.is_dir() and not path.is_symlink()
    }
    statuses = query_statuses(paths, run_dir)
    queued = {key for key, status in statuses.items() if status.state is not None}
    return [
        UnneededFolder(run_dir.job(key), _size(path), _title(key, records))
        for key, path in paths.items()
        if key not in queued and run_dir.job(key).lock.holder() is None
    ]


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _title(key: str, records: Mapping[str, Stored]) -> str:
    return records[key].record.job.title if key in records else "(no record)"
