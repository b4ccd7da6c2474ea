"""The leader process of a job, which starts and monitors ranks.

It holds the job's lock.
"""

import io
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing import connection, parent_process
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType

from ltbench.config.job import Job
from ltbench.launch.ranks import (
    LOCALHOST,
    STOP_SIGNALS,
    STOPPED,
    RankLayout,
    SharedHeartbeat,
    listen,
    serve_store,
    start_rank,
)
from ltbench.runs.job_lock import HEARTBEAT_EVERY, HEARTBEAT_TIMEOUT, HeldLock, LockLostError
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import ENDED, describe_exit, finished, record_failure
from ltbench.training.options import Options

log = logging.getLogger(__name__)

BUSY = 75
"""Exit code of a process whose job cannot start: another process holds it, or it must wait."""

POLL = 0.5
"""Seconds between polls of running jobs, and of their ranks."""

LEADER_TIMEOUT = 300.0
"""Seconds that the followers of a job on several machines wait for its leader."""

STOP_TIMEOUT = 10.0
"""Seconds that ranks get to end after one of them has stopped."""


def main(job_text: str, root: str, options: Options, slot: Sequence[str]) -> None:
    """Run one job in this new process, in its own session.

    Args:
        job_text: the job as JSON.
        root: the run folder.
        options: of the run, the same for all its jobs.
        slot: the GPU of each rank as CUDA_VISIBLE_DEVICES names it; empty texts on a CPU.
    """
    os.setsid()
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(filter(None, slot))
    parent = parent_process()
    if parent is None:
        raise RuntimeError("a job runs in a process of its own")
    job, run_dir = Job.model_validate_json(job_text), RunDirectory(Path(root))
    attempt = Attempt(job, run_dir, options, RankLayout.of_one_machine(len(slot)), parent.sentinel)
    code = attempt.run()
    if code != 0 and attempt.ranks:  # their child processes may live on
        os.killpg(0, signal.SIGKILL)
    sys.exit(code)


class Attempt:
    """One attempt at a job, which leaves a record or failure file.

    A stop signal makes the ranks save and end; a second Ctrl-C ends them at once.

    Args:
        job: to be run.
        run_dir: where its record goes.
        options: of the run, the same for all its jobs.
        layout: the ranks to start.
        parent: handle that becomes readable when the parent is gone, which ends this process too;
            without one the attempt does not depend on a parent.
    """

    def __init__(
        self,
        job: Job,
        run_dir: RunDirectory,
        options: Options,
        layout: RankLayout,
        parent: int | None = None,
    ) -> None:
        self.job, self.run_dir, self.options, self.layout = job, run_dir, options, layout
        self.folder = run_dir.job(job.key)
        self.parent = [] if parent is None else [parent]
        self.heartbeats = [SharedHeartbeat() for _ in range(layout.here)]
        self.ranks: list[ForkProcess] = []
        self.interrupts = 0
        self.last_beat = time.monotonic()
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)

    def run(self) -> int:
        """Run the ranks of this process; return its exit code."""
        try:
            return self._run_follower() if self.layout.first > 0 else self._run_leader()
        except OSError as error:  # in the job's folder, e.g. a full disk
            record_failure(self.folder, type(error).__name__, str(error))
            sys.stderr.write(f"{self.job.title}: {error}\n")
            return 1

    def _run_leader(self) -> int:
        """Hold the job's lock and run the first ranks."""
        single = self.layout.world == self.layout.here
        host = LOCALHOST if single else socket.gethostname()
        with listen(LOCALHOST if single else "") as server:
            return self._run_locked(server, f"{host}:{server.getsockname()[1]}")

    def _run_locked(self, server: socket.socket, address: str) -> int:
        """Run the job under its lock; all ranks rendezvous at the server."""
        store: object = None
        self.folder.lock.free_from_dead()
        with self.folder.hold(launch=self.layout.launch, address=address) as held:
            if held is None:
                return BUSY
            if finished(self.job, self.run_dir):
                return 0  # another runner finished it meanwhile
            for stale in self.folder.leftovers():  # of an earlier attempt
                stale.unlink(missing_ok=True)
            redirect(self.folder.log)
            log.info("%s, process %d", self.job.title, os.getpid())
            try:
                self._fork(address)
                if self.layout.world > 1:
                    store = serve_store(server)
                self._monitor(held)
                return self._collect_outcome()
            except LockLostError as error:
                log.error("%s: this attempt ends", error)  # noqa: TRY400 - expected, no traceback
                return BUSY
            finally:
                self._kill()
                del store

    def _run_follower(self) -> int:
        """Run the ranks here of a job whose lock the leader holds."""
        deadline = time.monotonic() + LEADER_TIMEOUT
        while not (address := self._leader_address()):
            if self.interrupts or finished(self.job, self.run_dir):
                return 0
            if time.monotonic() > deadline:
                return BUSY
            time.sleep(POLL)
        try:
            self._fork(address)
            self._monitor(None)
            code = self._collect_outcome()
        finally:
            self._kill()
        return 0 if code == STOPPED else code  # the leader reports the stop

    def _leader_address(self) -> str | None:
        """Return the leader's address, None before it holds the lock."""
        holder = self.folder.lock.holder()
        if holder is None or holder.details.get("launch") != self.layout.launch:
            return None
        return holder.details.get("address")

    def _fork(self, address: str) -> None:
        if self.layout.world == self.layout.on_node:  # the machine's name need not resolve
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        for local, heartbeat in enumerate(self.heartbeats):
            environment = self.layout.torchrun_env(local, address) if self.layout.world > 1 else {}
            rank = start_rank(self.job, self.run_dir, self.options, heartbeat, environment)
            self.ranks.append(rank)

    def _monitor(self, held: HeldLock | None) -> None:
        """Wait until all ranks have ended, or one has failed or hangs."""
        while True:
            alive = [rank for rank in self.ranks if rank.is_alive()]
            if not alive or any(rank.exitcode for rank in self.ranks):
                return
            ready = connection.wait([*self.parent, *(rank.sentinel for rank in alive)], POLL)
            if not set(self.parent).isdisjoint(ready):
                os.killpg(0, signal.SIGKILL)
            if held is not None:
                self._beat(held)
            silence = max(heartbeat.silence() for heartbeat in self.heartbeats)
            if silence > self.options.heartbeat_timeout:
                return

    def _beat(self, held: HeldLock) -> None:
        now = time.monotonic()
        if now - self.last_beat < HEARTBEAT_EVERY:
            return
        try:
            held.beat()
        except OSError as error:
            if now - self.last_beat > HEARTBEAT_TIMEOUT:  # others take this process for dead
                raise LockLostError(f"no heartbeat can be written: {error}") from error
        else:
            self.last_beat = now

    def _collect_outcome(self) -> int:
        """Write the failure file if a rank failed; return the exit code."""
        codes = [rank.exitcode for rank in self.ranks]
        if STOPPED in codes:
            deadline = time.monotonic() + STOP_TIMEOUT
            for rank in self.ranks:
                rank.join(max(deadline - time.monotonic(), 0))
            return STOPPED
        if not any(code is None or code for code in codes):
            return 0
        killed = [(i, code) for i, code in enumerate(codes) if code is not None and code < 0]
        if self.interrupts > 1:
            return STOPPED
        if killed:
            local, code = killed[0]
            record_failure(self.folder, ENDED, f"{self._rank_name(local)} {describe_exit(code)}")
        elif not any(codes):
            seconds = self.options.heartbeat_timeout
            record_failure(self.folder, ENDED, f"the job made no progress for {seconds:g} s")
        return 1

    def _rank_name(self, local: int) -> str:
        rank = self.layout.first + local
        return "the process" if self.layout.world == 1 else f"rank {rank} of {self.layout.world}"

    def _kill(self) -> None:
        for rank in self.ranks:
            rank.kill()
        for rank in self.ranks:
            rank.join()

    def _stop(self, number: int, _: FrameType | None) -> None:
        for heartbeat in self.heartbeats:
            heartbeat.ask_to_stop()
        self.interrupts += number == signal.SIGINT
        if self.interrupts > 1:
            for rank in self.ranks:
                rank.kill()


def redirect(path: Path) -> None:
    """Redirect all output of this process to a file, C libraries' too."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(handle, stream.fileno())
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(  # by line, so that the output of a killed process is there
                encoding="utf-8", errors="backslashreplace", line_buffering=True
            )
    os.close(handle)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
