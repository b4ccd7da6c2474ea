"""Attention of positions to regions of a map, at several scales."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

THREE_FROM = 7
"""Height and width from which on there are regions of a 3 x 3 grid."""


class RegionAttention(nn.Module):
    """Attention x + out(softmax(q k / sqrt(d)) v), initially the identity.

    Maps [B, C, H, W] -> maps [B, C, H, W]. Queries are of positions, keys and values of regions:
    the average-pooled cells of grids of 1 x 1, 2 x 2 and, on maps of at least 7 x 7, 3 x 3.

    Args:
        channels: C; queries, keys and values have a quarter of them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 4, 1)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Linear(channels, inner, bias=False)  # a bias has no effect on the softmax
        self.value = nn.Linear(channels, inner)
        self.out = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast("Tensor", self.out.bias))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps [B, C, H, W] of maps [B, C, H, W]."""
        tokens = regions(maps)  # [B, R, C]
        queries, keys = self.query(maps).flatten(2), self.key(tokens)  # [B, D, H * W], [B, R, D]
        attention = (keys @ queries / math.sqrt(keys.shape[2])).softmax(dim=1)  # [B, R, H * W]
        attended = self.value(tokens).mT @ attention  # [B, D, H * W]
        mixed: Tensor = maps + self.out(attended.unflatten(2, maps.shape[2:]))
        return mixed


def regions(maps: Tensor) -> Tensor:
    """Return the mean features of the regions of maps.

    Args:
        maps: [B, C, H, W].

    Returns:
        [B, R, C].
    """
    grids = (1, 2, 3) if min(maps.shape[2:]) >= THREE_FROM else (1, 2)
    pooled = [F.adaptive_avg_pool2d(maps, grid).flatten(2) for grid in grids]
    return torch.cat(pooled, dim=2).mT
