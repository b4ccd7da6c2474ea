"""Arithmetic in single precision under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor


def no_autocast(values: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast on the device of a tensor."""
    if values.is_meta:  # a device without autocast
        return nullcontext()
    return torch.autocast(values.device.type, enabled=False)


def at_least_float32(values: Tensor) -> Tensor:
    """Return values in at least single precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def unit_rows(values: Tensor) -> Tensor:
    """Return values [..., D] divided by their length, in at least float32."""
    return F.normalize(at_least_float32(values), dim=-1)
