"""The ranks of a job: processes forked by the leader process."""

import ctypes
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from ctypes import c_bool, c_double
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from multiprocessing.sharedctypes import RawValue

from ltbench.config.job import Job
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import record_failure
from ltbench.training.heartbeat import Heartbeat, StoppedError
from ltbench.training.options import Options

log = logging.getLogger(__name__)

STOPPED = 76
"""Exit code of a process that was asked to stop and has saved a checkpoint."""

LOCALHOST = "127.0.0.1"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals on which a job saves and stops: Ctrl-C, SIGTERM, and those of schedulers."""

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class RankLayout:
    """The ranks that this process starts; by default a single one.

    Attributes:
        world: number of ranks of the job.
        here: number of ranks that this process starts.
        first: the first rank that this process starts.
        node: index of this machine among those of the job.
        on_node: number of ranks on this machine.
        first_on_node: local rank of the first rank that this process starts.
        launch: id that the processes of the job on several machines share.
    """

    world: int = 1
    here: int = 1
    first: int = 0
    node: int = 0
    on_node: int = 1
    first_on_node: int = 0
    launch: str = ""

    @classmethod
    def of_one_machine(cls, world: int) -> "RankLayout":
        """Return the layout of a job on this machine alone."""
        return cls(world=world, here=world, on_node=world)

    @classmethod
    def of_srun(cls, world: int) -> "RankLayout | None":
        """Return the layout of one process per rank under srun, else None."""
        variable = os.environ.get
        if world == 1 or variable("SLURM_STEP_NUM_TASKS") != str(world):
            return None
        restarts = variable("SLURM_RESTART_COUNT", "0")
        return cls(
            world=world,
            first=int(os.environ["SLURM_PROCID"]),
            node=int(os.environ["SLURM_NODEID"]),
            on_node=world // int(os.environ["SLURM_STEP_NUM_NODES"]),
            first_on_node=int(os.environ["SLURM_LOCALID"]),
            launch=f"slurm {os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}, {restarts}",
        )

    def torchrun_env(self, local: int, address: str) -> dict[str, str]:
        """Return the environment variables that torchrun sets for a rank.

        Args:
            local: index of the rank among those that this process starts, from 0.
            address: host:port of the rendezvous store.
        """
        host, _, port = address.rpartition(":")
        return {
            "RANK": str(self.first + local),
            "LOCAL_RANK": str(self.first_on_node + local),
            "GROUP_RANK": str(self.node),
            "WORLD_SIZE": str(self.world),
            "LOCAL_WORLD_SIZE": str(self.on_node),
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RUN_ID": "ltbench",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }


class SharedHeartbeat(Heartbeat):
    """Heartbeat in memory shared by a rank and the leader, without locks."""

    def __init__(self) -> None:
        self._stop = RawValue(c_bool, False)
        self._beat = RawValue(c_double, 0.0)

    def beat(self) -> None:
        """Store the current time."""
        self._beat.value = time.monotonic()

    def stop_asked(self) -> bool:
        """Return whether the leader has called `ask_to_stop`."""
        return bool(self._stop.value)

    def ask_to_stop(self) -> None:
        """Ask the rank to save and stop."""
        self._stop.value = True

    def silence(self) -> float:
        """Return the seconds since the last beat, 0 before the first."""
        last: float = self._beat.value
        return time.monotonic() - last if last else 0.0


def start_rank(
    job: Job,
    run_dir: RunDirectory,
    options: Options,
    heartbeat: Heartbeat,
    environment: Mapping[str, str],
) -> ForkProcess:
    """Fork the process of one rank.

    It dies with this process, whatever ends it, and ignores stop signals, which this process
    handles.

    Args:
        job: to be run.
        run_dir: where its record goes.
        options: of the run.
        heartbeat: shared with the rank.
        environment: torchrun's variables; empty for a job of one rank.
    """
    context = multiprocessing.get_context("fork")
    arguments = (os.getpid(), job, run_dir, options, heartbeat, environment)
    process = context.Process(target=_run, args=arguments)
    process.start()
    return process


def die_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def _run(
    parent: int,
    job: Job,
    run_dir: RunDirectory,
    options: Options,
    heartbeat: Heartbeat,
    environment: Mapping[str, str],
) -> None:
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        os.kill(os.getpid(), signal.SIGKILL)
    # Lightning would handle some of them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGHUP})
    for name in RankLayout().torchrun_env(0, ""):
        os.environ.pop(name, None)  # set by an outer launcher
    os.environ.update(environment)
    try:
        from ltbench.training.fit import run_job

        run_job(job, run_dir, options, heartbeat)
    except StoppedError:
        log.info("stopped, and saved for the next attempt")
        sys.exit(STOPPED)
    except Exception as error:
        log.exception("the job failed")
        folder = run_dir.job(job.key)
        if not folder.failure.exists():  # another rank may have failed first
            record_failure(folder, type(error).__name__, f"{error}{_advice(error)}")
        sys.exit(1)


def _advice(error: Exception) -> str:
    """Return a hint for errors that do not say what to do."""
    name, message = type(error).__name__, str(error)
    if name in ("OutOfMemoryError", "MemoryError") or "can't allocate memory" in message:
        return "; to use less memory, raise --devices or lower --max-parallel"
    return ""


def listen(address: str) -> socket.socket:
    """Return a socket on a free port, for the rendezvous store."""
    server = socket.socket()
    server.bind((address, 0))
    server.listen()
    return server


def serve_store(server: socket.socket) -> object:
    """Serve the rendezvous store of the ranks while the result is referenced.

    It starts threads, so nothing may be forked afterwards.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # re-exported

    host, port = server.getsockname()
    return TCPStore(
        host, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach()
    )
