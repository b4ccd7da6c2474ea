"""Local slots: cores or GPUs that train a job at a time, each job a fork of one forkserver."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver, get_context
from multiprocessing.context import ForkServerProcess

from ltbench.config.models import Job
from ltbench.launch.display import RunDisplay
from ltbench.launch.machine import Slot
from ltbench.launch.order import chain_lengths
from ltbench.launch.process import BUSY, main
from ltbench.launch.state import (
    ENDED,
    ending,
    failure_of,
    finished,
    forget_ends,
    may_try_again,
    note_failure,
    tail,
)
from ltbench.launch.stopping import StopRequests
from ltbench.results.claim import Watch
from ltbench.results.record import Record
from ltbench.results.workspace import Workspace, read_json
from ltbench.training.options import Options

PRELOAD = ["ltbench.launch.preload", "ltbench.launch.process", "ltbench.cli"]
TRACKING = ["wandb", "wandb.apis.public"]
"""Preloaded too where jobs are mirrored."""
DIGITS = ["sklearn.datasets"]
"""Preloaded too where jobs train on them."""

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

FORKSERVERS = 4
"""Forkservers that may die over the start of one job."""

LOOK_ELSEWHERE = 2.0
"""Seconds between looks at jobs that other runs hold."""


@dataclass
class Outcome:
    """Keys of the jobs of a run by what became of them.

    Attributes:
        signal: number of the signal that the run was stopped by.
    """

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    signal: int | None = None


@dataclass
class _Running:
    job: Job
    slot: Slot
    process: ForkServerProcess


def warm_up(jobs: Iterable[Job], options: Options) -> None:
    """Start the forkserver, which takes seconds to load what jobs need while others work."""
    for name, value in FORKSERVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    modules = [*PRELOAD]
    if options.tracking != "off":
        modules += TRACKING
    if any(job.dataset.source == "digits" for job in jobs):
        modules += DIGITS
    get_context("forkserver").set_forkserver_preload(modules)
    forkserver.ensure_running()


class LocalRunner:
    """Trains jobs in slots, starts first, the longest chains first; `warm_up` goes before.

    Args:
        jobs: by key, starts before what starts from them; starts that are not among them have
            their weights.
        before: records of jobs that are trained again for their weights.
        workspace: where records and weights go.
        options: what every job's process is told.
        slots: GPUs of each slot, as CUDA_VISIBLE_DEVICES names them; empty texts for cores.
        seconds: estimated seconds of each job, for the order.
        display: told what happens.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        before: Mapping[str, Record],
        workspace: Workspace,
        options: Options,
        slots: Sequence[Slot],
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
        self.looked = 0.0
        self.watch = Watch()
        self.outcome = Outcome()
        self.length = chain_lengths(jobs, seconds)
        self.place = workspace.root.stat()
        for key in jobs:
            forget_ends(workspace.job(key))
        self.context = get_context("forkserver")

    def run(self) -> Outcome:
        """Train every job; returns when nothing is left that can be trained.

        When asked to stop it lets the jobs under way save first. Whatever interrupts it, no process
        is left behind.

        Raises:
            OSError: when the folder of the runs is gone.
            KeyboardInterrupt: when asked twice.
        """
        with StopRequests() as requests:
            try:
                while self.running or (self._left() and requests.signal is None):
                    self._check_place()
                    if requests.signal is None:
                        self._look_elsewhere()
                        self._block()
                        self._start()
                    else:
                        self._ask_to_stop(requests.signal)
                    self._watch()
            finally:
                self._kill()
        return self.outcome

    def _left(self) -> bool:
        return bool(self.waiting or self.elsewhere)

    def _check_place(self) -> None:
        """Refuse to go on where another file system, or nothing, is in the place of the folder."""
        try:
            same = os.path.samestat(self.workspace.root.stat(), self.place)
        except FileNotFoundError:
            same = False
        if not same:
            raise FileNotFoundError(f"{self.workspace.root}, where the runs are, is gone")

    def _ask_to_stop(self, number: int) -> None:
        """Ask, again and again: a process may have come too late to hear the first time."""
        if self.outcome.signal is None:
            self.outcome.signal = number
            self.display.stopping(len(self.running))
        for running in self.running.values():
            if running.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(running.process.pid, signal.SIGTERM)

    def _kill(self) -> None:
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
        for key in sorted(ready, key=lambda key: -self.length[key]):
            if not self.free:
                return
            job = self.waiting.pop(key)
            if self._done(job):
                continue  # by another run
            if self.workspace.job(key).claims.holder() is not None:
                self.elsewhere[key] = job
                self.display.elsewhere(job)
                continue
            slot = self.free.pop(0)
            self.running[key] = _Running(job, slot, self._fork(job, slot))
            self.display.started(job)

    def _fork(self, job: Job, slot: Slot) -> ForkServerProcess:
        """Start the process of a job, by a new forkserver where the old one dies over it."""
        process = self.context.Process(
            target=main,
            args=(job.model_dump_json(), str(self.workspace.root), self.options, slot),
        )
        for _ in range(FORKSERVERS - 1):
            try:
                process.start()
            except (EOFError, ConnectionError):
                time.sleep(POLL)  # until the system knows that it is gone
            else:
                return process
        process.start()
        return process

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
            self._settle(running.job, running.process.exitcode)

    def _look_elsewhere(self) -> None:
        """Take back the jobs of other runs that they let go of, or died over."""
        if time.monotonic() - self.looked < LOOK_ELSEWHERE:
            return
        self.looked = time.monotonic()
        for key, job in list(self.elsewhere.items()):
            claims = self.workspace.job(key).claims
            holder = claims.holder()
            if holder is None:
                del self.elsewhere[key]
                self._settle_elsewhere(job)
            elif self.watch.is_dead(claims, holder):
                claims.free(holder)

    def _settle(self, job: Job, exit_code: int | None) -> None:
        """Believe the record alone, never the exit code."""
        if self._done(job):
            return
        folder = self.workspace.job(job.key)
        if exit_code == BUSY or folder.claims.holder() is not None:
            self.elsewhere[job.key] = job
            self.display.elsewhere(job)
            return
        reason = failure_of(folder)
        if reason is None and self.outcome.signal is not None:
            return  # it saved and stopped
        if reason is None:
            message = f"the process {ending(exit_code)}"
            problem = note_failure(folder, ENDED, message)
            reason = f"{ENDED}: {message}" + (f"; {problem}" if problem else "")
        if reason.startswith(ENDED) and may_try_again(folder):
            self.waiting[job.key] = job
            self.display.again(job, reason)
        else:
            self._fail(job, reason)

    def _settle_elsewhere(self, job: Job) -> None:
        """Take over what another run says of a job, or the job."""
        reason = failure_of(self.workspace.job(job.key))
        if self._done(job):
            return
        if reason is None or reason.startswith(ENDED):
            self.waiting[job.key] = job
        else:
            self._fail(job, reason)

    def _done(self, job: Job) -> bool:
        record = finished(job, self.workspace)
        if record is None:
            return False
        before = self.before.get(job.key)
        self.outcome.done.append(job.key)
        self.display.done(job, changed=before is not None and not before.repeats(record))
        return True

    def _fail(self, job: Job, reason: str) -> None:
        self.outcome.failed.append(job.key)
        self.display.failed(job, reason, tail(self.workspace.job(job.key).log))
