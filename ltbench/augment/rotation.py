"""Quarter turns."""

import torch
from torch import Tensor

TURNS = 4
"""Turns that there are, none included."""


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Return square images [B, C, S, S], each turned to the left by its number of turns [B]."""
    every = torch.stack([images.rot90(turn, dims=(2, 3)) for turn in range(TURNS)])
    return every[turns, torch.arange(len(images), device=images.device)]
