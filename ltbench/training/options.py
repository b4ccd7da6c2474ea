"""What a run decides about its jobs' processes; imports no torch."""

from dataclasses import dataclass
from typing import Literal

from ltbench.tracking.mode import Mode

Device = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class Options:
    """Settings that cannot change a number on one kind of hardware.

    Attributes:
        grid: name of the grid that asked for the job first.
        data_root: folder of the images.
        device: where to train; each process has the GPU of its local rank. "auto" is decided where
            the job runs.
        devices: ranks of each job, with a device each.
        threads: CPU threads of each process.
        tracking: how Weights & Biases mirrors the job.
        commit: git commit of the code, where it is known.
        checkpoint_every: least seconds between two checkpoints, at epoch ends; there always is one
            after the last epoch, before the test.
        heartbeat_timeout: seconds without a step after which an attempt is given up.
        plugins: Python files with methods of the user's own.
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
