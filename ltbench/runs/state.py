"""States of jobs (done, running, failed, ...) from the run folder."""

import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ltbench.config.job import Job
from ltbench.config.planning import Plan
from ltbench.core.files import read_json, write_json
from ltbench.data.errors import DataError, printable
from ltbench.runs.errors import RecordError
from ltbench.runs.record import Record
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.runs.store import Loaded, Stored, read_record, record_path

ENDED = "Ended"
"""Kind of failure of an attempt that was ended from outside; it is worth a retry."""

UNUSABLE = DataError.__name__
"""Kind of failure of an attempt whose dataset's images are unusable."""

EXPLAINED = (UNUSABLE, "DivergedError", "InactiveTermError")
"""Kinds of failure that are explained by their message alone, without the log."""

MAX_ATTEMPTS = 3
"""Attempts that may be ended from outside without another epoch trained."""

Status = Literal["done", "running", "queued", "failed", "stale", "missing"]


@dataclass(frozen=True)
class JobState:
    """Status of a job, and the reason as text."""

    status: Status
    reason: str


@dataclass(frozen=True)
class SchedulerStatus:
    """A job in a scheduler's queue; `state` is None outside it."""

    job_id: str
    state: str | None


def finished(job: Job, run_dir: RunDirectory) -> Record | None:
    """Return the record of a job with record and weights, else None."""
    try:
        record = read_record(record_path(run_dir.records, job))
    except RecordError:
        return None
    return record if run_dir.job(job.key).has_weights(record.weights.sha256) else None


def read_failure(folder: JobFolder) -> str | None:
    """Return why a job's last attempt failed; None if it did not."""
    failure = read_json(folder.failure)
    return None if failure is None else f"{failure['kind']}: {failure['message']}"


def kind_of(reason: str) -> str:
    """Return the kind of a failure, as `read_failure` writes it."""
    return reason.partition(":")[0]


def first_line(reason: str) -> str:
    """Return the first line of a reason."""
    return reason.partition("\n")[0]


def failed_dependency(job: Job, plan: Plan, run_dir: RunDirectory) -> str | None:
    """Return which direct or indirect dependency failed, and why, else None."""
    for key in job.depends_on:
        if failure := read_failure(run_dir.job(key)):
            return f"{key}, which failed: {first_line(failure)}"
        if key in plan.jobs and (failed := failed_dependency(plan.jobs[key], plan, run_dir)):
            return failed
    return None


def record_failure(folder: JobFolder, kind: str, message: str) -> str | None:
    """Write the failure file of a job.

    Returns:
        An error message if the folder is not writable, else None.
    """
    try:
        write_json(folder.failure, {"kind": kind, "message": message})
    except OSError as error:
        return f"{folder.path} is not writable: {error.strerror}"
    return None


def register_retry(folder: JobFolder) -> bool:
    """Count an attempt that was ended from outside.

    Returns:
        Whether to try again.
    """
    progress, before = read_json(folder.progress), read_json(folder.retries)
    epoch = progress["epoch"] if progress else 0
    retries = {"times": 1, "epoch": epoch}
    if before is not None and epoch <= before["epoch"]:
        retries = {"times": before["times"] + 1, "epoch": before["epoch"]}
    try:
        write_json(folder.retries, retries)
    except OSError:  # not writable: training would fail too
        return False
    return retries["times"] < MAX_ATTEMPTS


def reset_retries(folder: JobFolder) -> None:
    """Reset the count of attempts, on a new run."""
    folder.retries.unlink(missing_ok=True)


def describe_exit(exit_code: int | None) -> str:
    """Describe how a process ended that left no record; None means lost."""
    if exit_code is None:
        return "was lost with its node"
    if exit_code < 0:
        known = {each.value: each.name for each in signal.Signals}
        name = known.get(-exit_code, f"signal {-exit_code}")
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"was ended by {name}{hint}"
    return f"ended with code {exit_code} and left no record"


def failed_jobs(plan: Plan, run_dir: RunDirectory) -> set[str]:
    """Return the keys of jobs whose last attempt failed."""
    present = run_dir.job_keys()
    return {key for key in plan.jobs if key in present and run_dir.job(key).failure.exists()}


def tail(path: Path, lines: int = 12) -> str:
    """Return the last lines of a log, without control characters."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "\n".join(printable(line.rstrip("\n")) for line in deque(file, lines))
    except OSError:
        return ""


def coordinates(job: Job) -> tuple[str, ...]:
    """Return the names that identify a job, without its settings."""
    return (job.dataset.id, job.split, job.label, job.recipe_name, str(job.seed), job.stage)


def older_jobs(records: Mapping[str, Stored], plan: Plan) -> dict[tuple[str, ...], Job]:
    """Return the jobs of records that no plan has, by coordinates.

    Such a record is stale if the plan has a job of equal coordinates, with another version or other
    settings.
    """
    return {
        coordinates(stored.record.job): stored.record.job
        for key, stored in records.items()
        if key not in plan.jobs and not stored.record.job.ad_hoc
    }


def job_states(
    plan: Plan,
    loaded: Loaded,
    run_dir: RunDirectory,
    statuses: Mapping[str, SchedulerStatus] | None = None,
) -> dict[str, JobState]:
    """Return the state of every job of a plan.

    Args:
        plan: the plan.
        loaded: the records.
        run_dir: the run folder.
        statuses: of submitted jobs in the scheduler, by key.
    """
    older = older_jobs(loaded.records, plan)
    statuses = statuses or {}
    return {key: _state(key, plan, loaded, run_dir, older, statuses.get(key)) for key in plan.jobs}


def _state(
    key: str,
    plan: Plan,
    loaded: Loaded,
    run_dir: RunDirectory,
    older: Mapping[tuple[str, ...], Job],
    scheduled: SchedulerStatus | None,
) -> JobState:
    if key in loaded.records:
        return JobState("done", f"{loaded.records[key].provenance} record")
    job, folder = plan.jobs[key], run_dir.job(key)
    if holder := folder.lock.holder():
        progress = _describe_progress(read_json(folder.progress))
        return JobState("running", progress if holder.here else f"{progress} on {holder.host}")
    if scheduled is not None and scheduled.state is not None:
        return JobState("queued", f"Slurm job {scheduled.job_id}: {scheduled.state}")
    if failure := read_failure(folder):
        return JobState("failed", failure)
    if failed := failed_dependency(job, plan, run_dir):
        return JobState("missing", f"waits for {failed}")
    if (old := older.get(coordinates(job))) and not folder.log.exists():
        return JobState("stale", f"its record is of {_difference(old, job)} ({old.key})")
    if scheduled is not None:
        return JobState("missing", f"Slurm job {scheduled.job_id} is over and left no record")
    return JobState("missing", _progress_left(job, run_dir))


def _progress_left(job: Job, run_dir: RunDirectory) -> str:
    """Describe what earlier attempts of a job left."""
    folder = run_dir.job(job.key)
    if record_path(run_dir.records, job).exists():
        return "its record is invalid, will start again"
    if any(folder.checkpoints.glob("*.pt")):
        return "interrupted, will resume"
    if folder.log.exists():
        return "interrupted before a checkpoint, will start again"
    return "never trained"


def _difference(old: Job, job: Job) -> str:
    """Describe why the key of a job differs from an older one."""
    if old.version != job.version:
        return f"version {old.version}"
    if old.plugin_hash != job.plugin_hash:
        return "other code of its plugin"
    if old.dataset.bad_images != job.dataset.bad_images:
        return f"{old.dataset.bad_images or 'all images'}"
    return "other settings"


def _describe_progress(progress: dict[str, Any] | None) -> str:
    if progress is None:
        return "starting"
    epoch, epochs = progress["epoch"], progress["epochs"]
    return "testing" if epoch == epochs else f"epoch {epoch}/{epochs}"


def jobs_to_train(plan: Plan, loaded: Loaded, run_dir: RunDirectory) -> list[str]:
    """Return the keys of the jobs to train, in dependency order.

    These are the jobs without a record, and the jobs that they depend on whose weights are missing
    or do not match the hash in their record.
    """
    needed: dict[str, None] = {}

    @cache
    def usable(key: str) -> bool:
        stored = loaded.records.get(key)
        return stored is not None and run_dir.job(key).has_weights(stored.record.weights.sha256)

    def need(key: str) -> None:
        if key not in needed:
            for dependency in plan.jobs[key].depends_on:
                if not usable(dependency):
                    need(dependency)
            needed[key] = None

    for key in plan.jobs:
        if key not in loaded.records:
            need(key)
    return list(needed)
