"""Rotations by quarter turns."""

import torch
from torch import Tensor

TURNS = 4
"""Number of rotations: 0, 90, 180 and 270 degrees."""


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate square images counter-clockwise.

    Args:
        images: [B, C, S, S].
        turns: [B] int64, quarter turns of each image.
    """
    every = torch.stack([images.rot90(turn, dims=(2, 3)) for turn in range(TURNS)])
    return every[turns, torch.arange(len(images), device=images.device)]
