"""Modulated attention of OLTR.

Liu, Miao, Zhan, Wang, Gong, Yu, "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019
(arXiv:1904.05160).
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class ModulatedAttention(nn.Module):
    """Attention x + spatial(x) * mask(x), initially the identity.

    Maps [B, C, H, W] -> maps [B, C, H, W]. The mask is self-attention between positions, with half
    the channels; the spatial attention is a softmax over positions of a linear layer on all of x.
    Initialized as in the authors' code.

    The authors have maps of 7 x 7. For other sizes the spatial attention is computed on a grid of
    that size, by average pooling to the grid and back.

    Args:
        channels: C, even.
        grid: height and width of the spatial attention.
    """

    def __init__(self, channels: int, grid: int = 7) -> None:
        super().__init__()
        half = channels // 2
        self.grid = grid
        self.g = nn.Conv2d(channels, half, 1)
        self.theta = nn.Conv2d(channels, half, 1)
        self.phi = nn.Conv2d(channels, half, 1)
        self.conv_mask = nn.Conv2d(half, channels, 1, bias=False)
        self.fc_spatial = nn.Linear(grid * grid * channels, grid * grid)
        for layer in (self.g, self.theta, self.phi):
            nn.init.kaiming_normal_(layer.weight)
        for bias in (self.g.bias, self.theta.bias):  # that of phi has no effect on the softmax
            nn.init.zeros_(cast("Tensor", bias))
        nn.init.zeros_(self.conv_mask.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps [B, C, H, W] of maps [B, C, H, W]."""
        return maps + self.spatial(maps) * self.mask(maps)

    def mask(self, maps: Tensor) -> Tensor:
        """Return the self-attention between positions [B, C, H, W]."""
        theta, phi, g = (layer(maps).flatten(2) for layer in (self.theta, self.phi, self.g))
        attention = (theta.mT @ phi).softmax(dim=2)  # [B, H * W, H * W]
        attended = g @ attention.mT  # [B, C / 2, H * W]
        masked: Tensor = self.conv_mask(attended.unflatten(2, maps.shape[2:]))
        return masked

    def spatial(self, maps: Tensor) -> Tensor:
        """Return the attention to each position [B, 1, H, W]."""
        on_grid = F.adaptive_avg_pool2d(maps, self.grid)
        attention = self.fc_spatial(on_grid.flatten(1)).softmax(dim=1)  # [B, grid * grid]
        attention = attention.view(-1, 1, self.grid, self.grid)
        return F.adaptive_avg_pool2d(attention, (maps.shape[2], maps.shape[3]))
