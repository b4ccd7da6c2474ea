"""The slots of this machine: its GPUs, else its cores."""

import os
from itertools import takewhile
from pathlib import Path

from ltbench.config.errors import Location
from ltbench.training.options import Device

Slot = tuple[str, ...]
"""What one job runs on: for each of its ranks the GPU, as CUDA_VISIBLE_DEVICES names it, or an
empty text for a core."""


def local_slots(
    device: Device = "auto", slots: int | None = None, jobs_per_gpu: int = 1, devices: int = 1
) -> list[Slot]:
    """Return the slots that a user asks for, by default every GPU, else every core.

    Args:
        device: where to train; "auto" is on GPUs where there are any.
        slots: jobs at a time.
        jobs_per_gpu: how many jobs may share a GPU.
        devices: GPUs or cores of each job.

    Returns:
        Slots of different GPUs each; all GPUs once before any twice.

    Raises:
        ConfigError: for more than there is.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "gpu" and not gpus:
        raise Location("--device").error("unavailable", "no GPU is visible")
    units = gpus or [""] * len(os.sched_getaffinity(0))
    if devices > len(units):
        kind = "GPUs" if gpus else "cores"
        message = f"{devices} asked for, this machine has {len(units)} {kind}"
        raise Location("--devices").error("out-of-range", message)
    groups = [
        tuple(units[first : first + devices])
        for first in range(0, len(units) - devices + 1, devices)
    ]
    most = groups * jobs_per_gpu if gpus else groups
    if slots is not None and slots > len(most):
        message = f"{slots} asked for, this machine has {len(most)}"
        raise Location("--max-parallel").error("out-of-range", message)
    return most[:slots]


def visible_gpus() -> list[str]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, without loading a CUDA library.

    Its names are indices or identifiers (GPU-..., MIG-...). CUDA ignores indices beyond those there
    are and all that follows it.
    """
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None or not there:
        return [str(number) for number in range(there)]
    names = (name.strip() for name in listed.split(","))
    return list(takewhile(lambda name: _is_there(name, there), names))


def _is_there(name: str, there: int) -> bool:
    try:
        return 0 <= int(name) < there
    except ValueError:
        return name != ""
