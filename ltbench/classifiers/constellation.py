"""Cosine classifiers with several points a class, displaced alike (GIST).

Liu, Li, Kang, Hua, Vasconcelos, "GistNet: a Geometric Structure Transfer Network for Long-Tailed
Recognition", ICCV 2021 (arXiv:2105.00131).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = 10.0
"""Factor of the cosines at the start."""


class ConstellationClassifier(nn.Module):
    """Two cosine classifiers with several points for each class.

        z_c = max_s tau cos(x, w_c + d_s),  d_0 = 0

    Features [B, D] -> logits [B, C]. The displacements are shared by all classes and by both
    classifiers: one for class-balanced batches, which predicts and does not move the displacements,
    and one for instance-balanced batches, which does. Displacements start at 0, where the
    classifiers are plain cosine classifiers. Of equal points the first one has the gradient, so
    that displacements of 0 have none: see `spread`.

    Args:
        width: D.
        classes: C.
        displacements: S.
    """

    def __init__(self, width: int, classes: int, displacements: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, width))
        self.instance_weight = nn.Parameter(torch.randn(classes, width))
        self.scale = nn.Parameter(torch.full((1,), SCALE))
        self.instance_scale = nn.Parameter(torch.full((1,), SCALE))
        self.displacements = nn.Parameter(torch.zeros(displacements, width))

    @torch.no_grad()
    def spread(self, share: float) -> None:
        """Start the displacements at random.

        Args:
            share: their root mean square, relative to that of the instance-balanced weights.
        """
        size = share * self.instance_weight.square().mean().sqrt()
        self.displacements.copy_(size * torch.randn(self.displacements.shape))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of the class-balanced classifier."""
        moved = self.displacements.detach()
        return _largest(features, self.weight, moved, self.scale)

    def instance(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of the instance-balanced classifier."""
        moved = self.displacements
        return _largest(features, self.instance_weight, moved, self.instance_scale)


def _largest(features: Tensor, weight: Tensor, displacements: Tensor, scale: Tensor) -> Tensor:
    """Return the largest scaled cosine [B, C] of each class's points."""
    offsets = F.pad(displacements, (0, 0, 1, 0))  # [S + 1, D], the first one 0
    points = F.normalize(weight[:, None] + offsets, dim=2)  # [C, S + 1, D]
    cosines = F.linear(F.normalize(features), points.flatten(0, 1))
    logits = scale * cosines.view(len(features), *points.shape[:2])  # [B, C, S + 1]
    return logits.max(dim=2).values
