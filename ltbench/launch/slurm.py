"""Slurm: submits jobs through submitit; jobs save and requeue themselves.

A job has one task per device. Its tasks handle signals themselves (USR2 before the time limit, TERM
on preemption): they save a checkpoint, and the first one requeues the job, unless it was canceled.
Whether a job is done is decided by its record, never by its state in Slurm.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.config.errors import ConfigError, Location, format_value, raise_all
from ltbench.config.job import Job
from ltbench.core.files import read_json, write_json
from ltbench.launch.ranks import STOPPED
from ltbench.launch.scheduling import dependency_levels
from ltbench.launch.signals import DeferredInterruption
from ltbench.launch.task import run_task, write_task
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.runs.state import (
    ENDED,
    SchedulerStatus,
    kind_of,
    read_failure,
    register_retry,
    reset_retries,
)
from ltbench.runs.store import slug
from ltbench.training.options import Options

if TYPE_CHECKING:
    from submitit import SlurmExecutor

SAVE_SECONDS = 120
"""Seconds before its time limit at which a job is signaled to save."""

MAX_ARRAY = 500
"""Most jobs of an array; Slurm's default limit is 1000."""

STEP = ("srun", "--kill-on-bad-exit=1", "--unbuffered")
"""Command that starts a job's tasks; if one fails, the others are killed."""

REQUEUABLE = {"RUNNING", "SIGNALING", "SUSPENDED"}
"""States of a job that is neither canceled nor requeued yet."""


OPTION = re.compile(r"[a-z][a-z-]*=.*")
"""An option of sbatch, without its dashes."""


@dataclass(frozen=True)
class Settings:
    """Options of sbatch for every job.

    Attributes:
        partition: name of the partition.
        time: time limit in Slurm's format; a job that needs longer is requeued.
        nodes: number of machines that share a job's devices equally.
        extra: further options by name, such as account or mem.
    """

    partition: str | None = None
    time: str | None = None
    nodes: int = 1
    extra: Mapping[str, str] = field(default_factory=dict)


def parse_options(texts: Iterable[str]) -> dict[str, str]:
    """Parse options of sbatch, written NAME=VALUE.

    Raises:
        ConfigError: naming every malformed option.
    """
    texts = list(texts)
    raise_all(
        Location("--slurm-option").problem(
            "malformed", f"expected NAME=VALUE, e.g. mem=32G, got {format_value(text)}"
        )
        for text in texts
        if not OPTION.fullmatch(text) or not text.isprintable()
    )
    return dict(text.partition("=")[::2] for text in texts)


def job_name(job: Job) -> str:
    """Return a job's name in the queue, e.g. ldam-drw.cifar100_r100.longtailed.s1."""
    return f"{slug(job.label.lower())}.{slug(job.dataset.id)}.{job.split}.s{job.seed}"


def submit(
    jobs: Mapping[str, Job], run_dir: RunDirectory, options: Options, settings: Settings
) -> dict[str, str]:
    """Submit jobs that are not yet queued, as arrays with dependencies.

    Args:
        jobs: by key, in dependency order.
        run_dir: the run folder.
        options: of the run.
        settings: options of sbatch.

    Returns:
        Slurm's id of each job, including those that were queued before.

    Raises:
        ConfigError: if Slurm or submitit is missing, devices do not divide among the nodes, or
            Slurm refuses the jobs, as for an unknown partition.
        Interruption: on a stop signal, between two arrays.
    """
    if options.devices % settings.nodes:
        message = f"{settings.nodes} nodes cannot share {options.devices} devices equally"
        raise Location("--nodes").error("conflict", message)
    statuses = query_statuses(jobs, run_dir)
    ids = {key: status.job_id for key, status in statuses.items() if status.state is not None}
    for level in dependency_levels(jobs):
        groups: dict[tuple[str, ...], list[Job]] = {}
        for key, job in level.items():
            if key not in ids:
                needed = sorted({ids[start] for start in job.depends_on if start in ids})
                groups.setdefault(tuple(needed), []).append(job)
        for needed_ids, group in groups.items():
            executor = _executor(run_dir, options, settings, needed_ids)
            for array in _chunks(group, MAX_ARRAY):
                ids |= _submit_array(array, executor, run_dir, options)
    return ids


def _submit_array(
    jobs: list[Job], executor: "SlurmExecutor", run_dir: RunDirectory, options: Options
) -> dict[str, str]:
    """Submit an array of jobs; return Slurm's id of each."""
    for job in jobs:
        reset_retries(run_dir.job(job.key))
    folders = [str(write_task(job, run_dir, options)) for job in jobs]
    with DeferredInterruption():  # so that each queued job's id is saved
        try:
            queued = executor.map_array(_run, folders)
        except RuntimeError as error:
            raise _refusal("sbatch", str(error)) from error
        ids = {job.key: one.job_id for job, one in zip(jobs, queued, strict=True)}
        for key, job_id in ids.items():
            write_json(run_dir.job(key).submission, {"slurm": job_id})
    _rename({ids[job.key]: job_name(job) for job in jobs})
    return ids


def _refusal(program: str, words: str) -> ConfigError:
    """Return the error of a program of Slurm that refused."""
    return Location(program).error("unavailable", words.strip().partition("\n")[0])


def query_statuses(keys: Iterable[str], run_dir: RunDirectory) -> dict[str, SchedulerStatus]:
    """Return the status in Slurm's queue of each job that was submitted.

    Raises:
        ConfigError: if the queue cannot be read.
    """
    present = run_dir.job_keys()
    submissions = {key: read_json(run_dir.job(key).submission) for key in keys if key in present}
    ids = {key: submission["slurm"] for key, submission in submissions.items() if submission}
    states = _queue() if ids else {}
    return {key: SchedulerStatus(job_id, states.get(job_id)) for key, job_id in ids.items()}


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs by Slurm's ids.

    Raises:
        ConfigError: if Slurm refuses one.
    """
    _checked_output(["scancel", *ids])


def run_and_requeue(folder: Path) -> int:
    """Run a folder's job as a Slurm task; requeue it if unfinished.

    Returns:
        The exit code: 0 if the job has its record.
    """
    code = run_task(folder)
    job_folder = JobFolder(folder)
    failure = read_failure(job_folder)
    ended = code != 0 and failure is not None and kind_of(failure) == ENDED
    if code == STOPPED or (ended and register_retry(job_folder)):
        _requeue(os.environ["SLURM_JOB_ID"])
    return code


def _run(folder: str) -> None:
    sys.exit(run_and_requeue(Path(folder)))


def _requeue(job_id: str) -> None:
    state = re.search(r"JobState=(\w+)", _output(["scontrol", "show", "job", "--oneliner", job_id]))
    if state is not None and state[1] in REQUEUABLE:
        _output(["scontrol", "requeue", job_id])


def _rename(names: Mapping[str, str]) -> None:
    """Rename the jobs of an array, by id."""
    lines = [f"update jobid={job_id} jobname={name}\n" for job_id, name in names.items()]
    _output(["scontrol"], "".join(lines))


def _queue() -> dict[str, str]:
    """Return the states of this user's jobs by id; empty without Slurm.

    Raises:
        ConfigError: if it cannot be read, as then it may hold any job.
    """
    if shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--array", "--user", str(os.getuid())]
    lines = _checked_output([*command, "--format", "%i %T %r"]).splitlines()
    return {
        job_id: state if reason == "None" else f"{state} ({reason})"
        for job_id, state, reason in (line.split(maxsplit=2) for line in lines)
    }


def _executor(
    run_dir: RunDirectory, options: Options, settings: Settings, needed_ids: tuple[str, ...]
) -> "SlurmExecutor":
    try:
        from submitit import SlurmExecutor
    except ImportError as error:
        message = "slurm needs submitit: pip install 'ltbench[slurm]'"
        raise Location("--launcher").error("unavailable", message) from error
    try:
        executor = SlurmExecutor(run_dir.root.absolute() / "slurm" / "%j")
    except RuntimeError as error:
        raise Location("--launcher").error(
            "unavailable", "Slurm is not installed here: no srun"
        ) from error
    tasks = options.devices // settings.nodes
    extra: dict[str, Any] = {"requeue": True, "kill-on-invalid-dep": "yes", **settings.extra}
    if settings.time is not None:
        extra["time"] = settings.time
    if needed_ids:
        extra["dependency"] = f"afterok:{':'.join(needed_ids)}"
    cores = settings.extra.get("cpus-per-task")  # srun does not inherit it from sbatch
    executor.update_parameters(
        job_name="ltbench",
        partition=settings.partition,
        nodes=settings.nodes,
        ntasks_per_node=tasks,
        gpus_per_node=tasks if options.device == "gpu" else None,
        signal_delay_s=SAVE_SECONDS,
        stderr_to_stdout=True,
        additional_parameters=extra,
        srun_args=[STEP[1], *([f"--cpus-per-task={cores}"] if cores else [])],
    )
    return executor


def _chunks(jobs: list[Job], size: int) -> Iterator[list[Job]]:
    for first in range(0, len(jobs), size):
        yield jobs[first : first + size]


def _output(command: list[str], text: str = "") -> str:
    """Return the output of a command, whether it fails or not."""
    return _call(command, text).stdout


def _checked_output(command: list[str]) -> str:
    """Return the output of a command.

    Raises:
        ConfigError: with the words of the command, if it fails.
    """
    done = _call(command)
    if done.returncode != 0:
        raise _refusal(command[0], done.stderr)
    return done.stdout


def _call(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - programs of Slurm, ids from Slurm
        command, input=text, capture_output=True, text=True, check=False
    )
