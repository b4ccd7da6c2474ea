"""Checks and precision of class counts in losses."""

import torch
from torch import Tensor


def require_images(counts: Tensor) -> None:
    """Check that every class has images.

    Raises:
        ValueError: naming the classes without images.
    """
    empty = (counts < 1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"classes without training images: {', '.join(map(str, empty))}")


def class_sizes(counts: Tensor) -> Tensor:
    """Return counts [C] as float64.

    Counts on an accelerator are not checked: a training step would wait for the result.

    Raises:
        ValueError: for a class without images.
    """
    if counts.device.type == "cpu":
        require_images(counts)
    return counts.double()


def as_constant(values: Tensor, logits: Tensor) -> Tensor:
    """Return values in the precision of the logits, at least float32."""
    return values.to(torch.promote_types(logits.dtype, torch.float32))
