"""Local runner: each slot trains one job at a time.

Jobs are forked from a forkserver.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver, get_context
from multiprocessing.context import ForkServerProcess

from ltbench.config.job import Job
from ltbench.core.types import SMALL_BACKBONES
from ltbench.launch.devices import Slot
from ltbench.launch.process import POLL, main
from ltbench.launch.runner import Runner, RunnerConfig
from ltbench.training.options import Options

PRELOAD = ["ltbench.launch.preload", "ltbench.launch.process", "ltbench.cli"]
TRACKING = ["wandb", "wandb.apis.public"]
"""Preloaded if jobs are tracked."""
DIGITS = ["sklearn.datasets"]
"""Preloaded if jobs train on the digits."""
BACKBONES = ["ltbench.networks.resnet10"]
"""Preloaded, with all of timm, if jobs train one of its networks."""

FORKSERVER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # glibc gives large blocks back to the system at every free unless told not to; keeping them
    # makes a CPU training step about a seventh faster (benchmarks/allocator.py).
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
"""Environment of the forkserver; variables that the user has set are kept."""

START_ATTEMPTS = 4
"""Attempts to start a job's process, each with a new forkserver if the last one died."""


@dataclass
class _Running:
    slot: Slot
    process: ForkServerProcess


def warm_up(jobs: Collection[Job], options: Options) -> None:
    """Start the forkserver, which imports what jobs need in the background."""
    for name, value in FORKSERVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    modules = [*PRELOAD]
    if options.tracking != "off":
        modules += TRACKING
    if any(job.dataset.source == "digits" for job in jobs):
        modules += DIGITS
    if any(job.recipe.network not in SMALL_BACKBONES for job in jobs):
        modules += BACKBONES
    get_context("forkserver").set_forkserver_preload(modules)
    forkserver.ensure_running()


class LocalRunner(Runner):
    """Trains jobs in slots of this machine; call `warm_up` first.

    Args:
        config: jobs, run folder and options.
        slots: GPU of each rank of a slot, as in CUDA_VISIBLE_DEVICES; empty strings for cores.
    """

    def __init__(self, config: RunnerConfig, slots: Sequence[Slot]) -> None:
        super().__init__(config)
        self.free = list(slots)
        self.busy: dict[str, _Running] = {}
        self.context = get_context("forkserver")

    def has_free_slot(self) -> bool:
        """Return whether a slot is free."""
        return bool(self.free)

    def start(self, job: Job) -> None:
        """Start the process of a job, again if the forkserver dies meanwhile."""
        slot = self.free.pop(0)
        process = self.context.Process(
            target=main,
            args=(job.model_dump_json(), str(self.run_dir.root), self.options, slot),
        )
        self.busy[job.key] = _Running(slot, process)
        for _ in range(START_ATTEMPTS - 1):
            try:
                process.start()
            except (EOFError, ConnectionError):
                time.sleep(POLL)  # until the system has noticed
            else:
                return
        process.start()

    def poll_finished(self) -> Iterable[tuple[str, int | None]]:
        """Wait a moment for processes to end."""
        connection.wait([each.process.sentinel for each in self.busy.values()], timeout=POLL)
        for key, running in list(self.busy.items()):
            if not running.process.is_alive():
                running.process.join()
                self.free.append(running.slot)
                yield key, self.busy.pop(key).process.exitcode

    def ask_to_stop(self) -> None:
        """Send SIGTERM to every process."""
        for running in self.busy.values():
            if running.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(running.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill every process and its children."""
        processes = [running.process for running in self.busy.values()]
        for process in processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):  # no process group yet, or gone
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
        for process in processes:
            if process.pid is not None:
                process.join()
