"""The slots of this machine: its GPUs, else its cores."""

import os
from pathlib import Path
from typing import Literal

from ltbench.config.errors import Source

Device = Literal["auto", "cpu", "gpu"]


def local_slots(
    device: Device = "auto", slots: int | None = None, jobs_per_gpu: int = 1
) -> list[str]:
    """Return the slots that a user asks for, by default every GPU, else every core.

    Args:
        device: where to train; "auto" is on GPUs where there are any.
        slots: jobs at a time.
        jobs_per_gpu: how many jobs may share a GPU.

    Returns:
        For each slot its GPU as CUDA_VISIBLE_DEVICES names it, each GPU once before any twice; an
        empty text for a CPU slot.

    Raises:
        ConfigError: for more than there is.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "gpu" and not gpus:
        raise Source("--device").error("no GPU is visible")
    most = gpus * jobs_per_gpu or [""] * len(os.sched_getaffinity(0))
    if slots is not None and slots > len(most):
        message = f"{slots} asked for, this machine has {len(most)}"
        raise Source("--slots").error(message)
    return most[:slots]


def visible_gpus() -> list[str]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, without loading a CUDA library."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None or not there:
        return [str(number) for number in range(there)]
    return [name for name in listed.split(",") if name not in ("", "-1")]
