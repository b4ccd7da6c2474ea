"""Checks of labels, shapes and numbers that a function was given.

They cost microseconds. Values of tensors on an accelerator are not checked, unless asked for: a
training step would wait for them. There the kernels refuse labels that are not classes.
`torch.compile` and `torch.func` have no values to check.
"""

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from ltbench.core.distributed import world_size

MOST_CLASSES = 2**24
"""Bound of labels where their number of classes is not known: larger ones are mistakes."""


def check_labels(
    labels: Tensor,
    shape: Sequence[int],
    name: str = "labels",
    *,
    values: bool | None = None,
) -> None:
    """Check labels [B] of scores [B, C].

    Every label counts: none is ignored, -100 neither.

    Args:
        labels: [B], int64, each from 0 to C - 1; at least one, but a rank's share may be empty.
        shape: B and C.
        name: of the labels in an error message.
        values: whether to check them, which waits for an accelerator; None where it is at once.

    Raises:
        TypeError: if the labels are no int64 tensor.
        ValueError: for another shape, no labels, or a label that is not a class.
    """
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"{name}: expected an int64 tensor, not {kind_of(labels)}: convert them")
    if len(shape) != 2:
        raise ValueError(f"logits: expected shape [B, C], not {list(shape)}")
    rows, classes = shape
    check_shape(name, labels, rows)
    check_some(name, rows)
    if rows and (has_values(labels) if values is None else values):
        least, most = bounds(labels)
        if least < 0 or most >= classes:
            wrong = least if least < 0 else most
            raise ValueError(
                f"{name}: {wrong} is not a class, expected 0 to {classes - 1}: leave out the rows "
                "that are to be ignored"
            )


def has_values(values: Tensor) -> bool:
    """Return whether values can be read at once.

    They can be on the CPU, outside of transformed and compiled functions.
    """
    transformed = torch.compiler.is_compiling() or is_functorch_wrapped_tensor(values)
    return values.is_cpu and not transformed


def bounds(values: Tensor) -> tuple[int, int]:
    """Return the smallest and the largest of integers."""
    least, most = values.aminmax()
    return int(least), int(most)


def check_shape(name: str, values: Tensor, *shape: int | str) -> None:
    """Check that an argument is a tensor of a shape.

    Args:
        name: of the argument.
        values: the argument.
        shape: sizes; a letter stands for any.

    Raises:
        TypeError: if it is no tensor.
        ValueError: for another shape.
    """
    if not isinstance(values, Tensor):
        raise TypeError(f"{name}: expected a tensor, not {kind_of(values)}")
    if values.shape != shape and (
        values.dim() != len(shape)
        or any(
            isinstance(size, int) and size != n for size, n in zip(shape, values.shape, strict=True)
        )
    ):
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name}: expected shape [{expected}], not {list(values.shape)}")


def check_some(name: str, rows: int) -> None:
    """Check that a batch has rows, unless it is a rank's share.

    Raises:
        ValueError: if it is empty.
    """
    if rows == 0 and world_size() == 1:
        raise ValueError(f"{name}: expected at least one, not an empty batch")


def check_choice(name: str, value: object, kind: object) -> None:
    """Check that an argument is one of the values of a Literal.

    Raises:
        ValueError: if it is another.
    """
    known = get_args(kind)
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, not {value!r}")


def check_value(name: str, value: object, expected: str, *, holds: bool) -> None:
    """Check an argument that is no tensor.

    Raises:
        ValueError: unless the condition holds.
    """
    if not holds:
        raise ValueError(f"{name}: expected {expected}, not {value!r}")


def kind_of(value: object) -> str:
    """Return the type of a value, the dtype of a tensor."""
    if isinstance(value, Tensor):
        return str(value.dtype).removeprefix("torch.")
    return type(value).__name__
