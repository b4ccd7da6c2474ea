"""Arithmetic that autocast leaves in the precision of its inputs."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def no_autocast(values: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast on the device of a tensor."""
    if values.is_meta:  # a device without autocast
        return nullcontext()
    return torch.autocast(values.device.type, enabled=False)
