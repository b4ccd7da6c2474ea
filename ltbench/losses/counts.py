"""Checks and precision of class counts in losses."""

import torch
from torch import Tensor

from ltbench.core.checks import bounds, check_shape, has_values, kind_of

INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
FEW = 20
"""Training images from which on a class is not of the tail."""


def require_images(counts: Tensor) -> None:
    """Check that every class has images.

    Raises:
        ValueError: naming the classes without images.
    """
    if int(counts.min()) < 1:
        empty = (counts < 1).nonzero().flatten().tolist()
        raise ValueError(f"classes without training images: {', '.join(map(str, empty))}")


def check_counts(counts: Tensor, *, allow_empty: bool = False) -> None:
    """Check counts [C] of training images per class.

    On an accelerator only type and shape are checked: a training step would wait for the values.

    Args:
        counts: [C], integers.
        allow_empty: whether some classes may be without images.

    Raises:
        TypeError: if they are no tensor of integers, as a list or a prior.
        ValueError: for another shape, no classes, or a class without images.
    """
    if not isinstance(counts, Tensor) or counts.dtype not in INTEGERS:
        raise TypeError(
            "counts: expected a tensor of integers, the training images of each class, not "
            + kind_of(counts)
        )
    check_shape("counts", counts, "C")
    if len(counts) == 0:
        raise ValueError("counts: expected at least one class")
    if not has_values(counts):
        return
    if not allow_empty:
        require_images(counts)
    else:
        least, most = bounds(counts)
        if least < 0 or most == 0:
            raise ValueError("counts: expected none below 0, and a class with images")


def class_sizes(counts: Tensor, *, allow_empty: bool = False) -> Tensor:
    """Return counts [C] as float64, checked by `check_counts`."""
    check_counts(counts, allow_empty=allow_empty)
    return counts.double()


def tail(counts: Tensor) -> Tensor:
    """Return which classes are the tail.

    Those with fewer than 20 images; if these are none or all classes, the smallest third, with the
    classes as large as its largest. Never a class of the largest size: with equal counts none.

    Args:
        counts: [C], training images per class.

    Returns:
        [C] bool.
    """
    check_counts(counts)
    few, largest = counts < FEW, counts.max()
    third = counts <= counts.sort().values[max(len(counts) // 3, 1) - 1]
    mixed = few.any() & ~few.all()
    return torch.where(mixed, few, third & (counts < largest))


def or_one(values: Tensor) -> Tensor:
    """Return values with 1 in place of 0, to be divided by."""
    return torch.where(values == 0, 1, values)


def as_constant(values: Tensor, logits: Tensor) -> Tensor:
    """Return values in the precision of the logits, at least float32."""
    return values.to(torch.promote_types(logits.dtype, torch.float32))
