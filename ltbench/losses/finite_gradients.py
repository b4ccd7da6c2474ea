"""Square root and arc cosine with gradients that are finite everywhere."""

import math

import torch
from torch import Tensor

NEAR = 1 - 1e-7
"""Cosines from which on the angle is 0 or pi: the gradient of arccos is infinite there."""


def root(squares: Tensor) -> Tensor:
    """Return square roots, with gradient 0 at 0."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)


def angles(cosines: Tensor) -> Tensor:
    """Return the angles of cosines, with no gradient at 0 and pi."""
    inside = cosines.abs() < NEAR
    inner = torch.where(inside, cosines, torch.zeros_like(cosines)).acos()
    ends = torch.where(cosines > 0, torch.zeros_like(cosines), torch.full_like(cosines, math.pi))
    return torch.where(inside, inner, ends)
