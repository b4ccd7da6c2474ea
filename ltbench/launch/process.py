"""The process of a job: it claims the job, starts its ranks and watches over them."""

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

from ltbench.config.models import Job
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
from ltbench.runs.job_lock import BEAT, STALE, HeldLock, LockLostError
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import ENDED, describe_exit, finished, record_failure
from ltbench.training.options import Options

log = logging.getLogger(__name__)

BUSY = 75
"""Exit code of a process that found its job claimed by another."""

POLL = 0.5
"""Seconds between looks at the ranks."""

PATIENCE = 300.0
"""Seconds that the processes of a job on several machines wait for the first of them."""

LEAVE = 10.0
"""Seconds that ranks get to end after one of them has stopped."""


def main(job_text: str, root: str, options: Options, slot: Sequence[str]) -> None:
    """Run one job in a fresh process, which becomes the leader of its own session.

    Args:
        job_text: the job as JSON.
        root: folder of the run_dir.
        options: what the run decides for all its jobs.
        slot: the GPU of each rank as CUDA_VISIBLE_DEVICES names it; empty texts on a CPU.
    """
    os.setsid()
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(filter(None, slot))
    runner = parent_process()
    if runner is None:
        raise RuntimeError("a job runs in a process of its own")
    job, run_dir = Job.model_validate_json(job_text), RunDirectory(Path(root))
    attempt = Attempt(job, run_dir, options, RankLayout.of_one_machine(len(slot)), runner.sentinel)
    try:
        code = attempt.run()
    except OSError as error:  # of the folder of the job: a full disk, say
        record_failure(attempt.folder, type(error).__name__, str(error))
        sys.stderr.write(f"{job.title}: {error}\n")
        code = 1
    if code != 0 and attempt.ranks:  # what they started may live on
        os.killpg(0, signal.SIGKILL)
    sys.exit(code)


class Attempt:
    """One attempt at a job, from its claim to its record or the reason why there is none.

    A signal to stop makes the ranks save and end; a second Ctrl-C ends them at once.

    Args:
        job: to be run.
        run_dir: where its record goes.
        options: what the run decides for all its jobs.
        layout: the ranks to start.
        runner: what is ready to read when the runner is gone, and this process with it; without one
            the attempt goes on alone.
    """

    def __init__(
        self,
        job: Job,
        run_dir: RunDirectory,
        options: Options,
        layout: RankLayout,
        runner: int | None = None,
    ) -> None:
        self.job, self.run_dir, self.options, self.layout = job, run_dir, options, layout
        self.folder = run_dir.job(job.key)
        self.runner = [] if runner is None else [runner]
        self.lifelines = [SharedHeartbeat() for _ in range(layout.here)]
        self.ranks: list[ForkProcess] = []
        self.interrupts = 0
        self.beaten = time.monotonic()
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)

    def run(self) -> int:
        """Return the code for the process to exit with; what became of the job is on the disk."""
        return self._run_follower() if self.layout.first > 0 else self._run_leader()

    def _run_leader(self) -> int:
        """Lock the job and run it, with the first ranks here."""
        alone = self.layout.world == self.layout.here
        host = LOCALHOST if alone else socket.gethostname()
        with listen(LOCALHOST if alone else "") as server:
            return self._hold(server, f"{host}:{server.getsockname()[1]}")

    def _hold(self, server: socket.socket, address: str) -> int:
        """Lock the job and run it; all ranks of the layout meet at the server."""
        store: object = None
        with self.folder.claim(launch=self.layout.launch, address=address) as claim:
            if claim is None:
                return BUSY
            if finished(self.job, self.run_dir):
                return 0  # by another runner since this one looked
            for left in (self.folder.progress, self.folder.failure):  # by an attempt before this
                left.unlink(missing_ok=True)
            redirect(self.folder.log)
            log.info("%s, process %d", self.job.title, os.getpid())
            try:
                self._fork(address)
                if self.layout.world > 1:
                    store = serve_store(server)
                self._watch(claim)
                return self._collect_outcome()
            except LockLostError as error:
                log.error("%s: this attempt ends", error)  # noqa: TRY400 - expected, no traceback
                return BUSY
            finally:
                self._kill()
                del store

    def _run_follower(self) -> int:
        """Run the ranks here of a job that another process of the layout has claimed."""
        deadline = time.monotonic() + PATIENCE
        while not (address := self._address()):
            if self.interrupts or finished(self.job, self.run_dir):
                return 0
            if time.monotonic() > deadline:
                return BUSY
            time.sleep(POLL)
        try:
            self._fork(address)
            self._watch(None)
            code = self._collect_outcome()
        finally:
            self._kill()
        return 0 if code == STOPPED else code  # whose end the first process tells

    def _address(self) -> str | None:
        """Return the address of the first rank, None before it has locked the job."""
        holder = self.folder.claims.holder()
        if holder is None or holder.details.get("launch") != self.layout.launch:
            return None
        return holder.details.get("address")

    def _fork(self, address: str) -> None:
        if self.layout.world == self.layout.on_node:  # no need to know the name of the machine
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        for place, heartbeat in enumerate(self.lifelines):
            words = self.layout.torchrun_env(place, address) if self.layout.world > 1 else {}
            rank = start_rank(self.job, self.run_dir, self.options, heartbeat, words)
            self.ranks.append(rank)

    def _watch(self, claim: HeldLock | None) -> None:
        """Return when all ranks have ended, or one of them in a way that ends the others."""
        while True:
            alive = [rank for rank in self.ranks if rank.is_alive()]
            if not alive or any(rank.exitcode for rank in self.ranks):
                return
            ready = connection.wait([*self.runner, *(rank.sentinel for rank in alive)], POLL)
            if not set(self.runner).isdisjoint(ready):
                os.killpg(0, signal.SIGKILL)
            if claim is not None:
                self._beat(claim)
            if (
                max(heartbeat.silence() for heartbeat in self.lifelines)
                > self.options.heartbeat_timeout
            ):
                return

    def _beat(self, claim: HeldLock) -> None:
        now = time.monotonic()
        if now - self.beaten < BEAT:
            return
        try:
            claim.beat()
        except OSError as error:
            if now - self.beaten > STALE:  # others must believe that this process is dead
                raise LockLostError(f"no sign of life can be given: {error}") from error
        else:
            self.beaten = now

    def _collect_outcome(self) -> int:
        """Say what went wrong, if anything did; return the code to exit with."""
        codes = [rank.exitcode for rank in self.ranks]
        if STOPPED in codes:
            deadline = time.monotonic() + LEAVE
            for rank in self.ranks:
                rank.join(max(deadline - time.monotonic(), 0))
            return STOPPED
        if not any(code is None or code for code in codes):
            return 0
        killed = [
            (place, code) for place, code in enumerate(codes) if code is not None and code < 0
        ]
        if self.interrupts > 1:
            return STOPPED
        if killed:
            place, code = killed[0]
            record_failure(self.folder, ENDED, f"{self._rank(place)} {describe_exit(code)}")
        elif not any(codes):
            seconds = self.options.heartbeat_timeout
            record_failure(self.folder, ENDED, f"the job did not move on for {seconds:g} s")
        return 1

    def _rank(self, place: int) -> str:
        number = self.layout.first + place
        return "the process" if self.layout.world == 1 else f"rank {number} of {self.layout.world}"

    def _kill(self) -> None:
        for rank in self.ranks:
            rank.kill()
        for rank in self.ranks:
            rank.join()

    def _stop(self, number: int, _: FrameType | None) -> None:
        for heartbeat in self.lifelines:
            heartbeat.ask_to_stop()
        self.interrupts += number == signal.SIGINT
        if self.interrupts > 1:
            for rank in self.ranks:
                rank.kill()


def redirect(path: Path) -> None:
    """Send everything the process prints, C libraries included, to the job's log."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(handle, stream.fileno())
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(  # line by line: what a killed process said is there
                encoding="utf-8", errors="backslashreplace", line_buffering=True
            )
    os.close(handle)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
