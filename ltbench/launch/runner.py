"""What runs jobs, wherever they run: in which order, until which end, believing records alone."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ltbench.config.models import Job
from ltbench.core.files import read_json
from ltbench.launch.display import RunDisplay
from ltbench.launch.process import BUSY
from ltbench.launch.scheduling import critical_path
from ltbench.launch.signals import StopSignals
from ltbench.runs.job_lock import Watch
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import (
    ENDED,
    EXPLAINED,
    UNUSABLE,
    describe_exit,
    failure_of,
    finished,
    first_line,
    record_failure,
    register_retry,
    reset_retries,
    tail,
)
from ltbench.training.options import Options

POLL = 0.5
"""Seconds between looks at running jobs."""

LOOK_ELSEWHERE = 2.0
"""Seconds between looks at jobs that other runs hold."""


@dataclass
class Outcome:
    """Keys of the jobs of a run by what became of them.

    Attributes:
        left: titles of the jobs that a signal left without a record.
        signal: number of that signal; None where it left none.
    """

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    signal: int | None = None


@dataclass(frozen=True)
class RunnerConfig:
    """What a runner trains, and how.

    Attributes:
        jobs: by key, starts before what starts from them; starts that are not among them have
            their weights.
        before: records of jobs that are trained again for their weights.
        seconds: estimated seconds of each job, for the order.
        run_dir: where records and weights go.
        options: what every job's process is told.
        display: told what happens.
    """

    jobs: Mapping[str, Job]
    before: Mapping[str, Record]
    seconds: Mapping[str, float | None]
    run_dir: RunDirectory
    options: Options
    display: RunDisplay


class Runner(ABC):
    """Trains jobs, starts first, the longest chains first, wherever there is room for them."""

    def __init__(self, config: RunnerConfig) -> None:
        self.before = config.before
        self.run_dir = config.run_dir
        self.options = config.options
        self.display = config.display
        self.jobs = config.jobs
        self.waiting = dict(self.jobs)
        self.running: dict[str, Job] = {}
        self.claimed_by_others: dict[str, Job] = {}
        self.looked = 0.0
        self.watch = Watch()
        self.requests = StopSignals()
        self.told = False
        self.outcome = Outcome()
        self.lost: dict[str, str] = {}  # why jobs failed or were not started, by key
        self.unusable: dict[str, str] = {}  # why jobs of a dataset are not started, by its name
        self.length = critical_path(self.jobs, config.seconds)
        self.place = self.run_dir.root.stat()
        for key in self.jobs:
            reset_retries(self.run_dir.job(key))

    @abstractmethod
    def has_free_slot(self) -> bool:
        """Return whether another job can be started."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Start the process of a job."""

    @abstractmethod
    def poll_finished(self) -> Iterable[tuple[str, int | None]]:
        """Wait a moment; return the keys of jobs whose processes have ended since, and their codes.

        A code of None is that of a process that was lost.
        """

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Ask all processes to save and stop; they may have been asked before."""

    @abstractmethod
    def kill(self) -> None:
        """Kill what is running: a job resumes from its last checkpoint."""

    def run(self) -> Outcome:
        """Train every job; returns when nothing is left that can be trained.

        When asked to stop it lets the jobs under way save first. Whatever interrupts it, no process
        is left behind.

        Raises:
            OSError: when the folder of the runs is gone.
            Interruption: when asked twice.
        """
        with self.requests:
            try:
                while self.running or (self._left() and self.requests.signal is None):
                    self._check_place()
                    if self.requests.signal is None:
                        self._look_elsewhere()
                        self._block()
                        self._start()
                    else:
                        self._stop()
                    self._watch()
            finally:
                self.kill()
        if self.requests.signal is not None:  # which may have come after the last look at it
            outcome = self.outcome
            ended = {*outcome.done, *outcome.failed, *outcome.blocked}
            outcome.left = [job.title for key, job in self.jobs.items() if key not in ended]
            outcome.signal = self.requests.signal if outcome.left else None
        return self.outcome

    def _left(self) -> bool:
        return bool(self.waiting or self.claimed_by_others)

    def _check_place(self) -> None:
        """Refuse to go on where another file system, or nothing, is in the place of the folder."""
        try:
            same = os.path.samestat(self.run_dir.root.stat(), self.place)
        except FileNotFoundError:
            same = False
        if not same:
            raise FileNotFoundError(f"{self.run_dir.root}, where the runs are, is gone")

    def _stop(self) -> None:
        """Ask, again and again: a process may have come too late to hear the first time."""
        if not self.told:
            self.told = True
            self.display.stopping(len(self.running))
        self.ask_to_stop()

    def _block(self) -> None:
        """Give up jobs whose start failed, or whose images another job could not use."""
        for key, job in list(self.waiting.items()):
            cause = next((self.lost[start] for start in job.depends_on if start in self.lost), None)
            if cause is not None and job.dataset.name not in self.unusable:
                self._give_up(key, cause)
                self.display.blocked([job], cause)
        for name, cause in self.unusable.items():
            jobs = [job for job in self.waiting.values() if job.dataset.name == name]
            for job in jobs:
                self._give_up(job.key, cause)
            if jobs:
                self.display.blocked(jobs, cause)

    def _give_up(self, key: str, cause: str) -> None:
        self.lost[key] = cause
        del self.waiting[key]
        self.outcome.blocked.append(key)

    def _start(self) -> None:
        pending = {*self.waiting, *self.running, *self.claimed_by_others}
        ready = [key for key, job in self.waiting.items() if pending.isdisjoint(job.depends_on)]
        for key in sorted(ready, key=lambda key: -self.length[key]):
            if not self.has_free_slot():
                return
            job = self.waiting.pop(key)
            if self._done(job):
                continue  # by another run
            if self.run_dir.job(key).claims.holder() is not None:
                self.claimed_by_others[key] = job
                self.display.elsewhere(job)
                continue
            self.running[key] = job
            self.start(job)
            self.display.started(job)

    def _watch(self) -> None:
        for key, code in self.poll_finished():
            self._settle(self.running.pop(key), code)
        for key, job in self.running.items():
            if state := read_json(self.run_dir.job(key).progress):
                self.display.progress(job, state)

    def _look_elsewhere(self) -> None:
        """Take back the jobs of other runs that they let go of, or died over."""
        if time.monotonic() - self.looked < LOOK_ELSEWHERE:
            return
        self.looked = time.monotonic()
        for key, job in list(self.claimed_by_others.items()):
            claims = self.run_dir.job(key).claims
            holder = claims.holder()
            if holder is None:
                del self.claimed_by_others[key]
                self._settle_elsewhere(job)
            elif self.watch.is_dead(claims, holder):
                claims.free(holder)

    def _settle(self, job: Job, exit_code: int | None) -> None:
        """Believe the record alone, never the exit code."""
        if self._done(job):
            return
        folder = self.run_dir.job(job.key)
        if exit_code == BUSY or folder.claims.holder() is not None:
            self.claimed_by_others[job.key] = job
            self.display.elsewhere(job)
            return
        reason = failure_of(folder)
        if reason is None and self.requests.signal is not None:
            return  # it saved and stopped
        if reason is None:
            message = f"the process {describe_exit(exit_code)}"
            problem = record_failure(folder, ENDED, message)
            reason = f"{ENDED}: {message}" + (f"; {problem}" if problem else "")
        if reason.startswith(ENDED) and register_retry(folder):
            self.waiting[job.key] = job
            self.display.again(job, reason)
        else:
            self._fail(job, reason)

    def _settle_elsewhere(self, job: Job) -> None:
        """Take over what another run says of a job, or the job."""
        reason = failure_of(self.run_dir.job(job.key))
        if self._done(job):
            return
        if reason is None or reason.startswith(ENDED):
            self.waiting[job.key] = job
        else:
            self._fail(job, reason)

    def _done(self, job: Job) -> bool:
        record = finished(job, self.run_dir)
        if record is None:
            return False
        before = self.before.get(job.key)
        self.outcome.done.append(job.key)
        self.display.done(job, changed=before is not None and not before.repeats(record))
        return True

    def _fail(self, job: Job, reason: str) -> None:
        folder, name = self.run_dir.job(job.key), job.dataset.name
        self.outcome.failed.append(job.key)
        self.lost[job.key] = f"{job.title} failed: {first_line(reason)}"
        if reason.startswith(UNUSABLE):  # the next job would say the same
            self.unusable[name] = f"the images of {name} cannot be used"
        self.display.failed(job, reason, "" if reason.startswith(EXPLAINED) else tail(folder.log))
