"""Local slots: cores or GPUs that train a job at a time, each job a fork of one forkserver."""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerProcess

from ltbench.config.models import Job
from ltbench.launch.display import RunDisplay
from ltbench.launch.process import BUSY, main
from ltbench.launch.state import failure_of, finished, tail
from ltbench.results.record import Record
from ltbench.results.workspace import Workspace, read_json, write_json
from ltbench.training.options import Options

PRELOAD = ["ltbench.cli", "ltbench.training.fit", "ltbench.tracking.wandb"]
TRACKING = ["wandb", "wandb.apis.public"]
"""Preloaded too where jobs are mirrored."""

FORKSERVER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # glibc gives large blocks back to the system at every free unless told not to; keeping them
    # makes a CPU training step about a seventh faster (benchmarks/allocator.py).
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
"""Read once, when the forkserver is executed; what the user has set stays."""

POLL = 0.5
"""Seconds between looks at running jobs."""


@dataclass
class Outcome:
    """Keys of the jobs of a run by what became of them."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)


@dataclass
class _Running:
    job: Job
    slot: str
    process: ForkServerProcess


class LocalRunner:
    """Trains jobs in slots, starts first, the longest chains first.

    Args:
        jobs: by key, starts before what starts from them; starts that are not among them have
            their weights.
        before: records of jobs that are trained again for their weights.
        workspace: where records and weights go.
        options: what every job's process is told.
        slots: GPU of each slot, as CUDA_VISIBLE_DEVICES names it; empty for a CPU slot.
        seconds: estimated seconds of each job, for the order.
        display: told what happens.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        before: Mapping[str, Record],
        workspace: Workspace,
        options: Options,
        slots: Sequence[str],
        seconds: Mapping[str, float | None],
        display: RunDisplay,
    ) -> None:
        self.before = before
        self.workspace = workspace
        self.options = options
        self.free = list(slots)
        self.display = display
        self.waiting = dict(jobs)
        self.running: dict[str, _Running] = {}
        self.elsewhere: dict[str, Job] = {}
        self.outcome = Outcome()
        self.length = chain_lengths(jobs, seconds)
        for name, value in FORKSERVER_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(
            PRELOAD if options.tracking == "off" else PRELOAD + TRACKING
        )

    def run(self) -> Outcome:
        """Train every job; returns when nothing is left that can be trained.

        Whatever interrupts it, no process is left behind.
        """
        try:
            while self.waiting or self.running or self.elsewhere:
                self._block()
                self._start()
                self._watch()
        finally:
            self._stop()
        return self.outcome

    def _stop(self) -> None:
        """Kill what is running: a job resumes from its last checkpoint."""
        for running in self.running.values():
            if running.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):  # not yet a leader, or gone
                    os.killpg(running.process.pid, signal.SIGKILL)
            running.process.kill()
        for running in self.running.values():
            running.process.join()

    def _block(self) -> None:
        lost = {*self.outcome.failed, *self.outcome.blocked}
        for key, job in list(self.waiting.items()):
            if not lost.isdisjoint(job.start):
                lost.add(key)
                del self.waiting[key]
                self.outcome.blocked.append(key)
                self.display.blocked(job)

    def _start(self) -> None:
        pending = {*self.waiting, *self.running, *self.elsewhere}
        ready = [key for key, job in self.waiting.items() if pending.isdisjoint(job.start)]
        for key in sorted(ready, key=lambda key: -self.length[key])[: len(self.free)]:
            job, slot = self.waiting.pop(key), self.free.pop(0)
            process = self.context.Process(
                target=main,
                args=(job.model_dump_json(), str(self.workspace.root), self.options, slot),
            )
            process.start()
            self.running[key] = _Running(job, slot, process)
            self.display.started(job)

    def _watch(self) -> None:
        connection.wait([r.process.sentinel for r in self.running.values()], timeout=POLL)
        for key, running in list(self.running.items()):
            if running.process.is_alive():
                if state := read_json(self.workspace.job(key).progress):
                    self.display.progress(running.job, state)
                continue
            running.process.join()
            del self.running[key]
            self.free.append(running.slot)
            if running.process.exitcode == BUSY:
                self.elsewhere[key] = running.job
                self.display.elsewhere(running.job)
            else:
                self._settle(running.job, running.process.exitcode)
        for key in list(self.elsewhere):
            if not self.workspace.job(key).is_claimed():
                self.waiting[key] = self.elsewhere.pop(key)  # to find its record, or to train it

    def _settle(self, job: Job, exit_code: int | None) -> None:
        """Believe the record alone, never the exit code."""
        record = finished(job, self.workspace)
        if record is not None:
            before = self.before.get(job.key)
            self.outcome.done.append(job.key)
            self.display.done(job, changed=before is not None and not before.repeats(record))
            return
        folder = self.workspace.job(job.key)
        if failure_of(folder) is None:
            write_json(folder.failure, {"kind": "Ended", "message": _end(exit_code)})
        self.outcome.failed.append(job.key)
        self.display.failed(job, str(failure_of(folder)), tail(folder.log))


def chain_lengths(jobs: Mapping[str, Job], seconds: Mapping[str, float | None]) -> dict[str, float]:
    """Return the seconds from each job's start to the end of the longest chain behind it.

    A job of unknown length counts as a second.

    Args:
        jobs: by key, starts before what starts from them.
        seconds: of each job.
    """
    own = {key: seconds[key] or 1.0 for key in jobs}
    length = dict(own)
    for key in reversed(list(jobs)):
        for start in jobs[key].start:
            if start in length:
                length[start] = max(length[start], own[start] + length[key])
    return length


def _end(exit_code: int | None) -> str:
    """Say how a process ended that did not say it itself."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{hint}"
    return f"the process ended with code {exit_code} and left no record"
