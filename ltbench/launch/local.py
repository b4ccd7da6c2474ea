"""Local slots: cores or GPUs that each train one job at a time, every job a fork of one forkserver."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerProcess
from typing import Protocol

from ltbench.config.expand import Plan
from ltbench.config.models import Job
from ltbench.launch.process import BUSY, main
from ltbench.launch.state import finished
from ltbench.results.workspace import Workspace, read_json
from ltbench.training.options import Options

TRACKING = ["wandb", "wandb.apis.public"]
"""Preloaded too where jobs are mirrored."""

PRELOAD = ["ltbench.cli", "ltbench.training.fit", "ltbench.tracking.wandb"]
FORKSERVER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # glibc gives large blocks back to the system at every free unless told not to; keeping them
    # makes a CPU training step about a tenth faster (benchmarks/allocator.py).
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
"""Read once, when the forkserver is executed; what the user has set stays."""

POLL = 0.5
"""Seconds between looks at running jobs."""
GRACE = 10.0
"""Seconds that stopped jobs get to end by themselves."""


class Display(Protocol):
    """Shows what happens to jobs."""

    def started(self, job: Job) -> None:
        """Tell that a job's process started."""

    def progress(self, job: Job, state: dict[str, float]) -> None:
        """Tell how far a job is: epoch, epochs, images_per_second."""

    def done(self, job: Job) -> None:
        """Tell that a job has its record."""

    def failed(self, job: Job, reason: str, log_tail: str) -> None:
        """Tell that a job failed, and why."""

    def blocked(self, job: Job) -> None:
        """Tell that a job cannot start because what it starts from failed."""


@dataclass
class Outcome:
    """What became of the jobs of a run."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)


@dataclass
class _Running:
    job: Job
    slot: dict[str, str]
    process: ForkServerProcess


def cpu_slots(count: int) -> list[dict[str, str]]:
    """Return the environments of CPU slots."""
    return [{"CUDA_VISIBLE_DEVICES": ""} for _ in range(count)]


def gpu_slots(devices: Sequence[str], jobs_per_gpu: int) -> list[dict[str, str]]:
    """Return the environments of GPU slots, first each GPU once, then each again."""
    return [{"CUDA_VISIBLE_DEVICES": device} for _ in range(jobs_per_gpu) for device in devices]


class LocalRunner:
    """Trains jobs in slots, starts first, the longest chains first.

    Args:
        plan: where the jobs come from.
        keys: jobs to train; their starts are trained already or among them.
        workspace: where records and weights go.
        options: what every job's process is told.
        slots: the environment variables of each slot.
        seconds: estimated seconds of a job, for the order.
    """

    def __init__(
        self,
        plan: Plan,
        keys: Iterable[str],
        workspace: Workspace,
        options: Options,
        slots: list[dict[str, str]],
        seconds: Callable[[Job], float | None],
        display: Display,
    ) -> None:
        self.jobs = {key: plan.jobs[key] for key in keys}
        self.workspace = workspace
        self.options = options
        self.free = list(slots)
        self.display = display
        self.waiting = dict(self.jobs)
        self.running: dict[str, _Running] = {}
        self.elsewhere: dict[str, Job] = {}
        self.outcome = Outcome()
        self.length = self._lengths(seconds)
        for name, value in FORKSERVER_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.context = get_context("forkserver")
        tracked = options.tracking != "off"
        self.context.set_forkserver_preload(PRELOAD + TRACKING * tracked)

    def run(self) -> Outcome:
        """Train every job; returns when nothing is left that can be trained."""
        try:
            while self.waiting or self.running or self.elsewhere:
                self._block()
                self._start()
                self._watch()
        except KeyboardInterrupt:
            self.stop()
            raise
        return self.outcome

    def stop(self) -> None:
        """End the running jobs: ask, then insist."""
        for running in self.running.values():
            if running.process.pid is not None and running.process.is_alive():
                os.kill(running.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for running in self.running.values():
            running.process.join(max(0.0, deadline - time.monotonic()))
            running.process.kill()

    def _lengths(self, seconds: Callable[[Job], float | None]) -> dict[str, float]:
        """Return the seconds from each job's start to the end of the longest chain behind it."""
        length = {key: seconds(job) or 1.0 for key, job in self.jobs.items()}
        for key, job in reversed(self.jobs.items()):
            for start in job.start:
                if start in length:
                    own = seconds(self.jobs[start]) or 1.0
                    length[start] = max(length[start], own + length[key])
        return length

    def _block(self) -> None:
        lost = {*self.outcome.failed, *self.outcome.blocked}
        for key in [k for k, job in self.waiting.items() if lost & set(job.start)]:
            self.display.blocked(self.waiting.pop(key))
            self.outcome.blocked.append(key)

    def _start(self) -> None:
        pending = {*self.waiting, *self.running, *self.elsewhere}
        ready = [k for k, job in self.waiting.items() if not pending & set(job.start)]
        for key in sorted(ready, key=lambda k: -self.length[k])[: len(self.free)]:
            job, slot = self.waiting.pop(key), self.free.pop(0)
            text = job.model_dump_json()
            process = self.context.Process(
                target=main, args=(text, str(self.workspace.root), self.options, slot)
            )
            process.start()
            self.running[key] = _Running(job, slot, process)
            self.display.started(job)

    def _watch(self) -> None:
        connection.wait([r.process.sentinel for r in self.running.values()], timeout=POLL)
        for key, running in list(self.running.items()):
            if running.process.is_alive():
                state = read_json(self.workspace.job(key).progress)
                if state:
                    self.display.progress(running.job, state)
                continue
            running.process.join()
            del self.running[key]
            self.free.append(running.slot)
            if running.process.exitcode == BUSY:
                self.elsewhere[key] = running.job
            else:
                self._settle(running.job)
        for key, job in list(self.elsewhere.items()):
            if not self.workspace.job(key).is_claimed():
                del self.elsewhere[key]
                if finished(job, self.workspace) or self.workspace.job(key).failure.exists():
                    self._settle(job)
                else:  # whoever had it is gone
                    self.waiting[key] = job

    def _settle(self, job: Job) -> None:
        """Believe the record alone, never the exit code."""
        folder = self.workspace.job(job.key)
        if finished(job, self.workspace):
            self.outcome.done.append(job.key)
            self.display.done(job)
            return
        failure = read_json(folder.failure) or {"kind": "died", "message": "its process was killed"}
        self.outcome.failed.append(job.key)
        self.display.failed(job, f"{failure['kind']}: {failure['message']}", tail(folder.log))


def tail(path: os.PathLike[str], lines: int = 12) -> str:
    """Return the last lines of a log, or nothing where there is none."""
    try:
        with open(path, errors="replace") as file:  # noqa: PTH123 - any path-like
            return "".join(file.readlines()[-lines:])
    except OSError:
        return ""
