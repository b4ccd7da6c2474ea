"""Which job folders of a run folder nobody needs any more.

Whatever trains in a run folder first writes down there which jobs its grid has, every edition of
the grid in a file of its own, so that grids given by path, edited or changed by `--set` are known.
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
from ltbench.launch.slurm import tickets
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.runs.store import Stored

KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


@dataclass(frozen=True)
class Unneeded:
    """A job folder that no grid needs: its key, bytes, and what it is where that is known."""

    folder: JobFolder
    bytes: int
    title: str

    def remove(self) -> bool:
        """Remove it, unless a process has begun to work in it; return whether it is gone."""
        with self.folder.claim() as claim:
            if claim is not None:
                shutil.rmtree(self.folder.path)
            return claim is not None


def note_plan(plan: Plan, run_dir: RunDirectory) -> None:
    """Write down in a run folder which jobs a grid has, unless that is there."""
    jobs = {key: job.title for key, job in plan.jobs.items()}
    name = f"{plan.grid.name}-{content_hash(sorted(jobs))[:KEY_LENGTH]}.json"
    path = run_dir.plans / name
    if not path.exists():
        write_json(path, {"grid": plan.grid.name, "jobs": jobs})


def needed(plans: Iterable[Plan], records: Mapping[str, Stored], run_dir: RunDirectory) -> set[str]:
    """Return the keys of all jobs that somebody may need.

    They are those of plans, of every plan that was written down, of published records, and, as
    plans were not always written down, what is ad hoc, of no known grid, or to be resumed.

    Raises:
        ConfigError: where a plan that was written down is damaged.
    """
    plans = list(plans)
    kept = {key for plan in plans for key in plan.jobs}
    grids = {plan.grid.name for plan in plans}
    for path in sorted(run_dir.plans.glob("*.json")):
        noted = read_json(path)
        if noted is None:
            raise Location(str(path)).error(
                "unreadable", "is damaged: nothing is removed, as it may name any job"
            )
        kept |= noted["jobs"].keys()
        grids.add(noted["grid"])
    for key, stored in records.items():
        known = stored.record.grid in grids and not stored.record.job.ad_hoc
        if stored.provenance == "published" or not known:
            kept.add(key)
    kept |= {path.parent.parent.name for path in run_dir.root.glob("jobs/*/checkpoints/*.pt")}
    return with_starts(kept, records)


def with_starts(keys: Iterable[str], records: Mapping[str, Stored]) -> set[str]:
    """Return keys of jobs and of all that these start from, as far as records tell."""
    found: set[str] = set()
    left = list(keys)
    while left:
        key = left.pop()
        if key not in found:
            found.add(key)
            left += records[key].record.job.depends_on if key in records else ()
    return found


def unneeded(
    kept: Iterable[str], records: Mapping[str, Stored], run_dir: RunDirectory
) -> list[Unneeded]:
    """Return the job folders of jobs that are not kept, not running and not queued.

    Only folders that are named as jobs are; what is a link stays.

    Raises:
        ConfigError: where the folder is none that runs were written to.
    """
    if not (run_dir.root / "jobs").is_dir():
        raise Location("--run-dir").error(
            "missing-file", f"{run_dir.root} is no folder of runs: it has no jobs"
        )
    kept = set(kept)
    paths = {
        path.name: path
        for path in sorted((run_dir.root / "jobs").iterdir())
        if KEY.fullmatch(path.name) and path.name not in kept
        if path.is_dir() and not path.is_symlink()
    }
    queued = {key for key, ticket in tickets(paths, run_dir).items() if ticket.words is not None}
    return [
        Unneeded(run_dir.job(key), _size(path), _title(key, records))
        for key, path in paths.items()
        if key not in queued and run_dir.job(key).claims.holder() is None
    ]


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _title(key: str, records: Mapping[str, Stored]) -> str:
    return records[key].record.job.title if key in records else "(no record)"
