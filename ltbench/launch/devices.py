"""The slots of this machine: its GPUs, else its cores."""

import os
from itertools import takewhile
from pathlib import Path

from ltbench.config.errors import Location
from ltbench.training.options import Device

Slot = tuple[str, ...]
"""Devices of one job: the GPU of each rank as in CUDA_VISIBLE_DEVICES; empty strings for cores."""


def local_slots(
    device: Device = "auto", slots: int | None = None, jobs_per_gpu: int = 1, devices: int = 1
) -> list[Slot]:
    """Return the slots to use: by default every GPU, else every core.

    Args:
        device: where to train; "auto" means GPUs if there are any.
        slots: number of jobs at a time.
        jobs_per_gpu: number of jobs that share a GPU.
        devices: number of GPUs or cores of each job.

    Returns:
        Slots of distinct GPUs each; every GPU is used once before any is shared.

    Raises:
        ConfigError: if the machine has fewer.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "gpu" and not gpus:
        raise Location("--device").error("unavailable", "no GPU is visible")
    units = gpus or [""] * len(os.sched_getaffinity(0))
    if devices > len(units):
        kind = "GPUs" if gpus else "cores"
        message = f"{devices} requested, this machine has {len(units)} {kind}"
        raise Location("--devices").error("out-of-range", message)
    groups = [
        tuple(units[first : first + devices])
        for first in range(0, len(units) - devices + 1, devices)
    ]
    available = groups * jobs_per_gpu if gpus else groups
    if slots is not None and slots > len(available):
        message = f"{slots} requested, this machine has {len(available)} slots"
        raise Location("--max-parallel").error("out-of-range", message)
    return available[:slots]


def visible_gpus() -> list[str]:
    """Return the GPUs in CUDA_VISIBLE_DEVICES, without loading a CUDA library.

    Its entries are indices or identifiers (GPU-..., MIG-...). As in CUDA, the first index that does
    not exist ends the list.
    """
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None or not count:
        return [str(number) for number in range(count)]
    names = (name.strip() for name in listed.split(","))
    return list(takewhile(lambda name: _exists(name, count), names))


def _exists(name: str, count: int) -> bool:
    try:
        return 0 <= int(name) < count
    except ValueError:
        return name != ""
