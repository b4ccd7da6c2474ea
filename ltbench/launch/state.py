"""What the disk says of each job of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ltbench.config.expand import Plan
from ltbench.config.models import Job
from ltbench.results.record import Record
from ltbench.results.store import Loaded, read_record, record_path
from ltbench.results.workspace import Workspace, read_json

Status = Literal["done", "running", "failed", "stale", "missing"]


def finished(job: Job, workspace: Workspace) -> Record | None:
    """Return the record of a job whose record and weights are both there, else None."""
    path = record_path(workspace.records, job)
    if not path.exists():
        return None
    record = read_record(path)
    return record if workspace.job(job.key).has_weights(record.weights.sha256) else None


@dataclass(frozen=True)
class JobState:
    """Status of a job with the reason, in words."""

    status: Status
    reason: str


def job_states(plan: Plan, loaded: Loaded, workspace: Workspace) -> dict[str, JobState]:
    """Return the state of every job of a plan."""
    outdated = {_place(stored.record): key for key, stored in loaded.records.items()}
    return {key: _state(key, plan, loaded, workspace, outdated) for key in plan.jobs}


def _state(
    key: str,
    plan: Plan,
    loaded: Loaded,
    workspace: Workspace,
    outdated: Mapping[tuple[object, ...], str],
) -> JobState:
    if key in loaded.records:
        return JobState("done", f"{loaded.records[key].provenance} record")
    folder = workspace.job(key)
    if folder.is_claimed():
        progress = read_json(folder.progress) or {}
        at = f"epoch {progress['epoch']}/{progress['epochs']}" if progress else "starting"
        return JobState("running", at)
    failure = read_json(folder.failure)
    if failure is not None:
        return JobState("failed", f"{failure.get('kind')}: {failure.get('message')}")
    job = plan.jobs[key]
    place = (job.dataset.id, job.split, job.label, job.stage, job.recipe_name, job.seed)
    if place in outdated:
        old = loaded.records[outdated[place]].record.job
        if old.version != job.version:
            return JobState("stale", f"record is of {job.method} version {old.version}, now {job.version}")
        return JobState("stale", "record is of other settings")
    if any(folder.checkpoints.glob("*.pt")):
        return JobState("missing", "interrupted, will resume")
    return JobState("missing", "never trained")


def _place(record: Record) -> tuple[object, ...]:
    job = record.job
    return (job.dataset.id, job.split, job.label, job.stage, job.recipe_name, job.seed)


def to_train(plan: Plan, loaded: Loaded, workspace: Workspace) -> list[str]:
    """Return the keys to train, starts first: what has no record, and starts without their weights.

    A start counts as there only if its weights match the hash in its record.
    """
    needed: dict[str, None] = {}

    def need(key: str) -> None:
        if key in needed:
            return
        for start in plan.jobs[key].start:
            record = loaded.records[start].record if start in loaded.records else None
            if record is None or not workspace.job(start).has_weights(record.weights.sha256):
                need(start)
        needed[key] = None

    for key in plan.jobs:
        if key not in loaded.records:
            need(key)
    return list(needed)

