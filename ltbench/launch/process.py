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
    SharedLifeline,
    Team,
    listen,
    serve_store,
    start_rank,
)
from ltbench.runs.job_lock import BEAT, STALE, Claim, ClaimLostError
from ltbench.runs.run_dir import Workspace
from ltbench.runs.state import ENDED, ending, finished, note_failure
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
        root: folder of the workspace.
        options: what the run decides for all its jobs.
        slot: the GPU of each rank as CUDA_VISIBLE_DEVICES names it; empty texts on a CPU.
    """
    os.setsid()
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(filter(None, slot))
    runner = parent_process()
    if runner is None:
        raise RuntimeError("a job runs in a process of its own")
    job, workspace = Job.model_validate_json(job_text), Workspace(Path(root))
    attempt = Attempt(job, workspace, options, Team.of_one_machine(len(slot)), runner.sentinel)
    try:
        code = attempt.run()
    except OSError as error:  # of the folder of the job: a full disk, say
        note_failure(attempt.folder, type(error).__name__, str(error))
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
        workspace: where its record goes.
        options: what the run decides for all its jobs.
        team: the ranks to start.
        runner: what is ready to read when the runner is gone, and this process with it; without one
            the attempt goes on alone.
    """

    def __init__(
        self,
        job: Job,
        workspace: Workspace,
        options: Options,
        team: Team,
        runner: int | None = None,
    ) -> None:
        self.job, self.workspace, self.options, self.team = job, workspace, options, team
        self.folder = workspace.job(job.key)
        self.runner = [] if runner is None else [runner]
        self.lifelines = [SharedLifeline() for _ in range(team.here)]
        self.ranks: list[ForkProcess] = []
        self.interrupts = 0
        self.beaten = time.monotonic()
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)

    def run(self) -> int:
        """Return the code for the process to exit with; what became of the job is on the disk."""
        return self._follow() if self.team.first > 0 else self._lead()

    def _lead(self) -> int:
        """Claim the job and run it, with the first ranks here."""
        alone = self.team.world == self.team.here
        host = LOCALHOST if alone else socket.gethostname()
        with listen(LOCALHOST if alone else "") as server:
            return self._hold(server, f"{host}:{server.getsockname()[1]}")

    def _hold(self, server: socket.socket, address: str) -> int:
        """Claim the job and run it; all ranks of the team meet at the server."""
        store: object = None
        with self.folder.claim(launch=self.team.launch, address=address) as claim:
            if claim is None:
                return BUSY
            if finished(self.job, self.workspace):
                return 0  # by another runner since this one looked
            for left in (self.folder.progress, self.folder.failure):  # by an attempt before this
                left.unlink(missing_ok=True)
            redirect(self.folder.log)
            log.info("%s, process %d", self.job.title, os.getpid())
            try:
                self._fork(address)
                if self.team.world > 1:
                    store = serve_store(server)
                self._watch(claim)
                return self._settle()
            except ClaimLostError as error:
                log.error("%s: this attempt ends", error)  # noqa: TRY400 - expected, no traceback
                return BUSY
            finally:
                self._kill()
                del store

    def _follow(self) -> int:
        """Run the ranks here of a job that another process of the team has claimed."""
        deadline = time.monotonic() + PATIENCE
        while not (address := self._address()):
            if self.interrupts or finished(self.job, self.workspace):
                return 0
            if time.monotonic() > deadline:
                return BUSY
            time.sleep(POLL)
        try:
            self._fork(address)
            self._watch(None)
            code = self._settle()
        finally:
            self._kill()
        return 0 if code == STOPPED else code  # whose end the first process tells

    def _address(self) -> str | None:
        """Return where the first process of the team waits, None before it has claimed the job."""
        holder = self.folder.claims.holder()
        if holder is None or holder.details.get("launch") != self.team.launch:
            return None
        return holder.details.get("address")

    def _fork(self, address: str) -> None:
        if self.team.world == self.team.on_node:  # no need to know the name of the machine
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        for place, lifeline in enumerate(self.lifelines):
            words = self.team.variables(place, address) if self.team.world > 1 else {}
            rank = start_rank(self.job, self.workspace, self.options, lifeline, words)
            self.ranks.append(rank)

    def _watch(self, claim: Claim | None) -> None:
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
            if max(lifeline.silence() for lifeline in self.lifelines) > self.options.hung_after:
                return

    def _beat(self, claim: Claim) -> None:
        now = time.monotonic()
        if now - self.beaten < BEAT:
            return
        try:
            claim.beat()
        except OSError as error:
            if now - self.beaten > STALE:  # others must believe that this process is dead
                raise ClaimLostError(f"no sign of life can be given: {error}") from error
        else:
            self.beaten = now

    def _settle(self) -> int:
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
            note_failure(self.folder, ENDED, f"{self._rank(place)} {ending(code)}")
        elif not any(codes):
            seconds = self.options.hung_after
            note_failure(self.folder, ENDED, f"the job did not move on for {seconds:g} s")
        return 1

    def _rank(self, place: int) -> str:
        number = self.team.first + place
        return "the process" if self.team.world == 1 else f"rank {number} of {self.team.world}"

    def _kill(self) -> None:
        for rank in self.ranks:
            rank.kill()
        for rank in self.ranks:
            rank.join()

    def _stop(self, number: int, _: FrameType | None) -> None:
        for lifeline in self.lifelines:
            lifeline.ask_to_stop()
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
