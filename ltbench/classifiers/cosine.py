"""Cosine classifier: class weights and features of length 1, no bias."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.core.autocast import no_autocast, unit_rows


class CosineClassifier(nn.Module):
    """Scaled cosines between features and class weights.

    Features [B, D] -> scale * cosines [B, C]. Scale 1 is the classifier of LDAM (Cao et al.,
    NeurIPS 2019, arXiv:1906.07413), whose loss has the scale, and whose code has the weight as
    [D, C]; others have RoBal (Wu et al., CVPR 2021, arXiv:2104.02703) and, with `squash`, OLTR (Liu
    et al., CVPR 2019, arXiv:1904.05160).

    Args:
        width: D.
        classes: C.
        scale: factor of the cosines.
        squash: whether features have length ||x|| / (1 + ||x||) instead of 1.
    """

    def __init__(
        self, width: int, classes: int, scale: float = 1.0, *, squash: bool = False
    ) -> None:
        super().__init__()
        self.scale = scale
        self.squash = squash
        directions = torch.empty(classes, width).uniform_(-1, 1)
        self.weight = nn.Parameter(F.normalize(directions))

    def forward(self, features: Tensor) -> Tensor:
        """Return scaled cosines [B, C] of features [B, D]."""
        if self.squash:
            features = features / (1 + torch.linalg.vector_norm(features, dim=1, keepdim=True))
        else:
            features = F.normalize(features)
        return self.scale * F.linear(features, F.normalize(self.weight))

    def cosines(self, features: Tensor) -> Tensor:
        """Return cosines [B, C] in at least float32, also under autocast.

        For losses of angles: bfloat16 rounds the cosine of a fitted image to 1, where the angle has
        no gradient.
        """
        with no_autocast(features):
            return unit_rows(features) @ unit_rows(self.weight).T
