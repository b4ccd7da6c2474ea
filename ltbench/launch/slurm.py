"""Slurm: jobs are submitted through submitit, and save and requeue themselves when they must go.

A job is one task a device. Its tasks take signals themselves (USR2 before the time limit, TERM on
preemption): they save, and the first one has the job requeued, unless it was cancelled. What Slurm
says of a job that is over is never believed; its record is.
"""

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.config.errors import Location, format_value
from ltbench.config.models import Job
from ltbench.core.files import read_json, write_json
from ltbench.launch.ranks import STOPPED
from ltbench.launch.scheduling import levels
from ltbench.launch.signals import Unbroken
from ltbench.launch.task import run_task, write_task
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.runs.state import ENDED, SchedulerStatus, register_retry, reset_retries
from ltbench.runs.store import slug
from ltbench.training.options import Options

if TYPE_CHECKING:
    from submitit import SlurmExecutor

SAVE_SECONDS = 120
"""Seconds before its time limit at which a job is told to save."""

ARRAY = 500
"""Most jobs of an array; Slurm's own limit is 1000 unless a cluster sets another."""

STEP = ("srun", "--kill-on-bad-exit=1", "--unbuffered")
"""How a job's tasks are started: where one fails, the others are not waited for."""

STANDING = {"RUNNING", "SIGNALING", "SUSPENDED"}
"""States of a job that nobody has cancelled or requeued yet."""


@dataclass(frozen=True)
class Settings:
    """What jobs ask Slurm for.

    Attributes:
        partition: name of the partition.
        time: time limit of a job, as Slurm writes it; a job goes on in as many turns as it needs.
        nodes: machines that share a job's devices equally.
        more: further words of sbatch by name, such as account or mem.
    """

    partition: str | None = None
    time: str | None = None
    nodes: int = 1
    more: Mapping[str, str] = field(default_factory=dict)


def parse_options(texts: Iterable[str]) -> dict[str, str]:
    """Return words of sbatch, written `name=value`, by name.

    Raises:
        ConfigError: for what is not written so.
    """
    words = dict(text.partition("=")[::2] for text in texts)
    for name, value in words.items():
        if not re.fullmatch(r"[a-z][a-z-]*", name) or not value.isprintable():
            raise Location("--slurm-option").error(
                "malformed", f"{format_value(name)} is no name of a word, as in mem=32G"
            )
    return words


def job_name(job: Job) -> str:
    """Return a job's name in the queue, e.g. ldam-drw.cifar100_r100.longtailed.s1."""
    return f"{slug(job.label.lower())}.{slug(job.dataset.id)}.{job.split}.s{job.seed}"


def submit(
    jobs: Mapping[str, Job], run_dir: RunDirectory, options: Options, settings: Settings
) -> dict[str, str]:
    """Submit jobs that are not in the queue, as arrays, each to start after what it starts from.

    Args:
        jobs: by key, starts before what starts from them.
        run_dir: where their records go.
        options: of the run.
        settings: what to ask for.

    Returns:
        Slurm's id of each job, those in the queue before included.

    Raises:
        ConfigError: where there is no Slurm or no submitit, or devices do not fit the nodes.
        Interruption: between two arrays, when asked to stop.
    """
    if options.devices % settings.nodes:
        message = f"{settings.nodes} nodes cannot share {options.devices} devices equally"
        raise Location("--nodes").error("conflict", message)
    known = tickets(jobs, run_dir)
    ids = {key: ticket.number for key, ticket in known.items() if ticket.words is not None}
    for level in levels(jobs):
        groups: dict[tuple[str, ...], list[Job]] = {}
        for key, job in level.items():
            if key not in ids:
                before = sorted({ids[start] for start in job.depends_on if start in ids})
                groups.setdefault(tuple(before), []).append(job)
        for starts, group in groups.items():
            executor = _executor(run_dir, options, settings, starts)
            for some in _parts(group, ARRAY):
                for job in some:
                    reset_retries(run_dir.job(job.key))
                folders = [str(write_task(job, run_dir, options)) for job in some]
                with Unbroken():  # what is in the queue has its ticket
                    submitted = executor.map_array(_run, folders)
                    for job, theirs in zip(some, submitted, strict=True):
                        ids[job.key] = theirs.job_id
                        write_json(run_dir.job(job.key).ticket, {"slurm": theirs.job_id})
                _rename({ids[job.key]: job_name(job) for job in some})
    return ids


def tickets(keys: Iterable[str], run_dir: RunDirectory) -> dict[str, SchedulerStatus]:
    """Return what Slurm says of jobs that were submitted."""
    found = {key: read_json(run_dir.job(key).ticket) for key in keys}
    numbers = {key: said["slurm"] for key, said in found.items() if said is not None}
    queued = _queue() if numbers else {}
    return {key: SchedulerStatus(number, queued.get(number)) for key, number in numbers.items()}


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs."""
    subprocess.run(["scancel", *ids], check=True)  # noqa: S603, S607 - ids that Slurm gave


def run_and_requeue(folder: Path) -> int:
    """Run the job of a folder in a task of Slurm, which requeues it where it has to go on later.

    Returns:
        The code to exit with: 0 where the job has its record.
    """
    code = run_task(folder)
    here = JobFolder(folder)
    failure = read_json(here.failure)
    ended = code != 0 and failure is not None and failure["kind"] == ENDED
    if code == STOPPED or (ended and register_retry(here)):
        _requeue(os.environ["SLURM_JOB_ID"])
    return code


def _run(folder: str) -> None:
    sys.exit(run_and_requeue(Path(folder)))


def _requeue(number: str) -> None:
    state = re.search(r"JobState=(\w+)", _said(["scontrol", "show", "job", "--oneliner", number]))
    if state is not None and state[1] in STANDING:
        _said(["scontrol", "requeue", number])


def _rename(names: Mapping[str, str]) -> None:
    """Give jobs of an array, which all have its name, their own."""
    lines = [f"update jobid={number} jobname={name}\n" for number, name in names.items()]
    _said(["scontrol"], "".join(lines))


def _queue() -> dict[str, str]:
    """Return what Slurm says of this user's jobs, by id; nothing where there is no Slurm."""
    if shutil.which("squeue") is None:
        return {}
    words = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", "%i %T %r"]
    lines = [line.split(maxsplit=2) for line in _said(words).splitlines()]
    return {
        number: state if reason == "None" else f"{state} ({reason})"
        for number, state, reason in lines
    }


def _executor(
    run_dir: RunDirectory, options: Options, settings: Settings, starts: tuple[str, ...]
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
            "unavailable", "no Slurm here: there is no srun"
        ) from error
    tasks = options.devices // settings.nodes
    more: dict[str, Any] = {"requeue": True, "kill-on-invalid-dep": "yes", **settings.more}
    if settings.time is not None:
        more["time"] = settings.time
    if starts:
        more["dependency"] = f"afterok:{':'.join(starts)}"
    cores = settings.more.get("cpus-per-task")  # which srun does not take from sbatch
    executor.update_parameters(
        job_name="ltbench",
        partition=settings.partition,
        nodes=settings.nodes,
        ntasks_per_node=tasks,
        gpus_per_node=tasks if options.device == "gpu" else None,
        signal_delay_s=SAVE_SECONDS,
        stderr_to_stdout=True,
        additional_parameters=more,
        srun_args=[STEP[1], *([f"--cpus-per-task={cores}"] if cores else [])],
    )
    return executor


def _parts(jobs: list[Job], most: int) -> Iterator[list[Job]]:
    for first in range(0, len(jobs), most):
        yield jobs[first : first + most]


def _said(words: list[str], to: str = "") -> str:
    """Return what a command prints when it is told something, nothing where it fails."""
    done = subprocess.run(  # noqa: S603 - fixed words
        words, input=to, capture_output=True, text=True, check=False
    )
    return done.stdout
