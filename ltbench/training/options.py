"""Options of a run for its job processes. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from ltbench.tracking.mode import Mode

Device = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class Options:
    """Settings that do not change results on one kind of hardware.

    Attributes:
        grid: name of the grid that first planned the job.
        data_root: folder of all datasets.
        device: to train on; each process uses the GPU of its local rank. "auto" is resolved on the
            machine of the job.
        devices: ranks of each job, one device each.
        threads: CPU threads of each process.
        tracking: Weights & Biases mode.
        commit: git commit of the code, if known.
        checkpoint_every: least seconds between checkpoints at epoch ends; there is always one after
            the last epoch, before the test.
        heartbeat_timeout: seconds without progress after which an attempt is stopped.
        plugins: Python files with the user's own methods.
    """

    grid: str
    data_root: str | None = None
    device: Device = "cpu"
    devices: int = 1
    threads: int = 1
    tracking: Mode = "off"
    commit: str | None = None
    checkpoint_every: float = 30.0
    heartbeat_timeout: float = 1800.0
    plugins: tuple[str, ...] = ()
