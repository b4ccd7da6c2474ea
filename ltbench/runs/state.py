"""What the disk says of each job of a plan."""

import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ltbench.config.models import Job
from ltbench.config.planning import Plan
from ltbench.core.files import read_json, write_json
from ltbench.data.errors import DataError, printable
from ltbench.runs.errors import RecordError
from ltbench.runs.record import Record
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.runs.store import Loaded, Stored, read_record, record_path

ENDED = "Ended"
"""Kind of failure of an attempt that something outside it has ended; the next may do better."""

UNUSABLE = DataError.__name__
"""Kind of failure of an attempt that could not use the images of its dataset."""

EXPLAINED = (UNUSABLE, "DivergedError")
"""Kinds of failure whose reason says it all, so that nobody needs the log."""

ATTEMPTS = 3
"""Attempts in a row at a job that something outside ends, before it has trained another epoch."""

Status = Literal["done", "running", "queued", "failed", "stale", "missing"]


@dataclass(frozen=True)
class JobState:
    """Status of a job with the reason, in words."""

    status: Status
    reason: str


@dataclass(frozen=True)
class SchedulerStatus:
    """What a scheduler calls a job, and says of it; None where it no longer knows it."""

    number: str
    words: str | None


def finished(job: Job, run_dir: RunDirectory) -> Record | None:
    """Return the record of a job whose record and weights are both there, else None."""
    try:
        record = read_record(record_path(run_dir.records, job))
    except RecordError:
        return None
    return record if run_dir.job(job.key).has_weights(record.weights.sha256) else None


def failure_of(folder: JobFolder) -> str | None:
    """Return why the last attempt at a job failed, None where it did not."""
    failure = read_json(folder.failure)
    return None if failure is None else f"{failure['kind']}: {failure['message']}"


def first_line(reason: str) -> str:
    """Return the first line of a reason, for places that have no room for more."""
    return reason.partition("\n")[0]


def lost_start(job: Job, plan: Plan, run_dir: RunDirectory) -> str | None:
    """Return which job failed that a job starts from, directly or not, and why; None for none."""
    for start in job.depends_on:
        if failure := failure_of(run_dir.job(start)):
            return f"{start}, which failed: {first_line(failure)}"
        if start in plan.jobs and (found := lost_start(plan.jobs[start], plan, run_dir)):
            return found
    return None


def record_failure(folder: JobFolder, kind: str, message: str) -> str | None:
    """Write down why an attempt failed; return why that cannot be done, None where it is."""
    try:
        write_json(folder.failure, {"kind": kind, "message": message})
    except OSError as error:
        return f"{folder.path} cannot be written to: {error.strerror}"
    return None


def register_retry(folder: JobFolder) -> bool:
    """Count an attempt that something outside has ended; return whether another is worth while."""
    progress, before = read_json(folder.progress), read_json(folder.ends)
    epoch = progress["epoch"] if progress else 0
    ends = {"times": 1, "epoch": epoch}
    if before is not None and epoch <= before["epoch"]:
        ends = {"times": before["times"] + 1, "epoch": before["epoch"]}
    try:
        write_json(folder.ends, ends)
    except OSError:  # what cannot count cannot train
        return False
    return ends["times"] < ATTEMPTS


def reset_retries(folder: JobFolder) -> None:
    """Begin to count anew, because somebody asks for the job again."""
    folder.ends.unlink(missing_ok=True)


def describe_exit(exit_code: int | None) -> str:
    """Say how a process ended that did not say it itself; one without a code was lost."""
    if exit_code is None:
        return "was lost with its node"
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"was ended by {name}{hint}"
    return f"ended with code {exit_code} and left no record"


def failed_jobs(plan: Plan, run_dir: RunDirectory) -> set[str]:
    """Return the keys of jobs whose last attempt failed."""
    return {key for key in plan.jobs if run_dir.job(key).failure.exists()}


def tail(path: Path, lines: int = 12) -> str:
    """Return the last lines of a log, nothing that a terminal obeys; empty where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "\n".join(printable(line.rstrip("\n")) for line in deque(file, lines))
    except OSError:
        return ""


def place_of(job: Job) -> tuple[str, ...]:
    """Return what a job is to a reader, whatever its settings."""
    return (job.dataset.id, job.split, job.label, job.recipe_name, str(job.seed), job.stage)


def older_jobs(records: Mapping[str, Stored], plan: Plan) -> dict[tuple[str, ...], Job]:
    """Return the jobs of stale records, by place.

    A record is stale where a plan has a job in its place, with another version or other settings.
    """
    return {
        place_of(stored.record.job): stored.record.job
        for key, stored in records.items()
        if key not in plan.jobs and not stored.record.job.ad_hoc
    }


def job_states(
    plan: Plan,
    loaded: Loaded,
    run_dir: RunDirectory,
    tickets: Mapping[str, SchedulerStatus] | None = None,
) -> dict[str, JobState]:
    """Return the state of every job of a plan; `tickets` are those of submitted jobs by key."""
    older = older_jobs(loaded.records, plan)
    tickets = tickets or {}
    return {key: _state(key, plan, loaded, run_dir, older, tickets.get(key)) for key in plan.jobs}


def _state(
    key: str,
    plan: Plan,
    loaded: Loaded,
    run_dir: RunDirectory,
    older: Mapping[tuple[str, ...], Job],
    ticket: SchedulerStatus | None,
) -> JobState:
    if key in loaded.records:
        return JobState("done", f"{loaded.records[key].provenance} record")
    job, folder = plan.jobs[key], run_dir.job(key)
    if holder := folder.claims.holder():
        at = _how_far(read_json(folder.progress))
        return JobState("running", at if holder.here else f"{at} on {holder.host}")
    if ticket is not None and ticket.words is not None:
        return JobState("queued", f"Slurm job {ticket.number}: {ticket.words}")
    if failure := failure_of(folder):
        return JobState("failed", failure)
    if lost := lost_start(job, plan, run_dir):
        return JobState("missing", f"waits for {lost}")
    if old := older.get(place_of(job)):
        return JobState("stale", f"its record is of {_difference(old, job)} ({old.key})")
    if ticket is not None:
        return JobState("missing", f"Slurm job {ticket.number} is over and left no record")
    if any(folder.checkpoints.glob("*.pt")):
        return JobState("missing", "interrupted, will resume")
    return JobState("missing", "never trained")


def _difference(old: Job, job: Job) -> str:
    """Say what moved the key of a job since an older one."""
    if old.version != job.version:
        return f"version {old.version}"
    if old.plugin_hash != job.plugin_hash:
        return "other code of its plugin"
    if old.dataset.bad_images != job.dataset.bad_images:
        return f"{old.dataset.bad_images or 'all images'}"
    return "other settings"


def _how_far(progress: dict[str, Any] | None) -> str:
    if progress is None:
        return "starting"
    epoch, epochs = progress["epoch"], progress["epochs"]
    return "testing" if epoch == epochs else f"epoch {epoch}/{epochs}"


def to_train(plan: Plan, loaded: Loaded, run_dir: RunDirectory) -> list[str]:
    """Return the keys to train, starts first: what has no record, and starts without their weights.

    A start counts as there only if its weights match the hash in its record.
    """
    needed: dict[str, None] = {}

    @cache
    def usable(start: str) -> bool:
        stored = loaded.records.get(start)
        return stored is not None and run_dir.job(start).has_weights(stored.record.weights.sha256)

    def need(key: str) -> None:
        if key not in needed:
            for start in plan.jobs[key].depends_on:
                if not usable(start):
                    need(start)
            needed[key] = None

    for key in plan.jobs:
        if key not in loaded.records:
            need(key)
    return list(needed)
