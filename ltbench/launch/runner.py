"""Runner: starts jobs in dependency order and collects their outcomes."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ltbench.config.job import Job
from ltbench.core.files import read_json
from ltbench.launch.display import RunDisplay
from ltbench.launch.process import BUSY
from ltbench.launch.scheduling import critical_path
from ltbench.launch.signals import StopSignals
from ltbench.runs.job_lock import DeadHolderDetector
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import (
    ENDED,
    EXPLAINED,
    UNUSABLE,
    describe_exit,
    finished,
    first_line,
    kind_of,
    read_failure,
    record_failure,
    register_retry,
    reset_retries,
    tail,
)
from ltbench.training.options import Options

POLL_OTHERS = 2.0
"""Seconds between polls of jobs that other runs hold."""


@dataclass
class RunOutcome:
    """Keys of the jobs of a run by outcome.

    Attributes:
        unfinished: titles of the jobs that a signal left without a record.
        signal: number of that signal; None if it left none.
    """

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    signal: int | None = None


@dataclass(frozen=True)
class RunnerConfig:
    """Jobs of a runner, their run folder and options.

    Attributes:
        jobs: by key, in dependency order; jobs that they depend on and are not among them have
            their weights.
        old_records: records of jobs that are trained again for their weights.
        seconds: estimated duration of each job, for the order.
        run_dir: the run folder.
        options: of the run, the same for all its jobs.
        display: shows the progress.
    """

    jobs: Mapping[str, Job]
    old_records: Mapping[str, Record]
    seconds: Mapping[str, float | None]
    run_dir: RunDirectory
    options: Options
    display: RunDisplay


class Runner(ABC):
    """Runs jobs in dependency order, the longest chains first.

    Whether a job is done is decided by its record, never by an exit code.
    """

    def __init__(self, config: RunnerConfig) -> None:
        self.old_records = config.old_records
        self.run_dir = config.run_dir
        self.options = config.options
        self.display = config.display
        self.jobs = config.jobs
        self.waiting = dict(self.jobs)
        self.running: dict[str, Job] = {}
        self.claimed_by_others: dict[str, Job] = {}
        self.last_poll_of_others = 0.0
        self.dead_holders = DeadHolderDetector()
        self.signals = StopSignals()
        self.stop_shown = False
        self.outcome = RunOutcome()
        self.causes: dict[str, str] = {}  # why jobs failed or were not started, by key
        self.unusable: dict[str, str] = {}  # why jobs of a dataset are not started, by its name
        self.length = critical_path(self.jobs, config.seconds)
        self.root_stat = self.run_dir.root.stat()
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
        """Wait a moment; return key and exit code of ended processes.

        The code is None if the process was lost with its node.
        """

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Ask all processes to save and stop; may be called repeatedly."""

    @abstractmethod
    def kill(self) -> None:
        """Kill all processes; their jobs resume from their last checkpoints."""

    def run(self) -> RunOutcome:
        """Run every job that can be run.

        On a stop signal, running jobs save a checkpoint first. No process is left behind, whatever
        interrupts it.

        Raises:
            OSError: if the run folder is gone.
            Interruption: on a second stop signal.
        """
        with self.signals:
            try:
                while self.running or (self._pending() and self.signals.signal is None):
                    self._check_run_folder()
                    if self.signals.signal is None:
                        self._poll_others()
                        self._block()
                        self._start()
                    else:
                        self._stop()
                    self._poll()
            finally:
                self.kill()
        if self.signals.signal is not None:  # it may have come after the last check
            outcome = self.outcome
            ended = {*outcome.done, *outcome.failed, *outcome.blocked}
            outcome.unfinished = [job.title for key, job in self.jobs.items() if key not in ended]
            outcome.signal = self.signals.signal if outcome.unfinished else None
        return self.outcome

    def _pending(self) -> bool:
        return bool(self.waiting or self.claimed_by_others)

    def _check_run_folder(self) -> None:
        """Check that the run folder still is the same folder."""
        try:
            same = os.path.samestat(self.run_dir.root.stat(), self.root_stat)
        except FileNotFoundError:
            same = False
        if not same:
            raise FileNotFoundError(f"the run folder {self.run_dir.root} is gone")

    def _stop(self) -> None:
        """Ask all processes to stop, repeatedly: some may have just started."""
        if not self.stop_shown:
            self.stop_shown = True
            self.display.stopping(len(self.running))
        self.ask_to_stop()

    def _block(self) -> None:
        """Give up jobs whose dependency failed or whose images are unusable."""
        for key, job in list(self.waiting.items()):
            cause = next((self.causes[k] for k in job.depends_on if k in self.causes), None)
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
        self.causes[key] = cause
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
                continue  # another run did it
            if self.run_dir.job(key).lock.holder() is not None:
                self.claimed_by_others[key] = job
                self.display.claimed_by_other(job)
                continue
            self.running[key] = job
            self.start(job)
            self.display.started(job)

    def _poll(self) -> None:
        for key, code in self.poll_finished():
            self._collect(self.running.pop(key), code)
        for key, job in self.running.items():
            if state := read_json(self.run_dir.job(key).progress):
                self.display.progress(job, state)

    def _poll_others(self) -> None:
        """Collect ended jobs of other runs; break locks of dead holders."""
        if time.monotonic() - self.last_poll_of_others < POLL_OTHERS:
            return
        self.last_poll_of_others = time.monotonic()
        for key, job in list(self.claimed_by_others.items()):
            lock = self.run_dir.job(key).lock
            holder = lock.holder()
            if holder is None:
                del self.claimed_by_others[key]
                self._collect_from_other(job)
            elif self.dead_holders.is_dead(lock, holder):
                lock.break_lock(holder)

    def _collect(self, job: Job, exit_code: int | None) -> None:
        """Collect the outcome of a job whose process ended."""
        if self._done(job):
            return
        folder = self.run_dir.job(job.key)
        if exit_code == BUSY or folder.lock.holder() is not None:
            self.claimed_by_others[job.key] = job
            self.display.claimed_by_other(job)
            return
        reason = read_failure(folder)
        if reason is None and self.signals.signal is not None:
            return  # it saved and stopped
        if reason is None:
            message = f"the process {describe_exit(exit_code)}"
            problem = record_failure(folder, ENDED, message)
            reason = f"{ENDED}: {message}" + (f"; {problem}" if problem else "")
        if kind_of(reason) == ENDED and register_retry(folder):
            self.waiting[job.key] = job
            self.display.retrying(job, reason)
        else:
            self._fail(job, reason)

    def _collect_from_other(self, job: Job) -> None:
        """Collect the outcome of another run's job, or run it here."""
        reason = read_failure(self.run_dir.job(job.key))
        if self._done(job):
            return
        if reason is None or kind_of(reason) == ENDED:
            self.waiting[job.key] = job
        else:
            self._fail(job, reason)

    def _done(self, job: Job) -> bool:
        record = finished(job, self.run_dir)
        if record is None:
            return False
        old = self.old_records.get(job.key)
        self.outcome.done.append(job.key)
        self.display.done(job, changed=old is not None and not old.repeats(record))
        return True

    def _fail(self, job: Job, reason: str) -> None:
        folder, name = self.run_dir.job(job.key), job.dataset.name
        self.outcome.failed.append(job.key)
        self.causes[job.key] = f"{job.title} failed: {first_line(reason)}"
        if kind_of(reason) == UNUSABLE:  # by any job
            self.unusable[name] = f"the images of {name} cannot be used"
        self.display.failed(job, reason, "" if kind_of(reason) in EXPLAINED else tail(folder.log))
