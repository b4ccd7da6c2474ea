"""The cosine classifier: class weights and features of length 1, no bias."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineClassifier(nn.Module):
    """Features [B, D] -> scale * cosines [B, C] between features and class weights.

    Without scale as in LDAM (Cao et al., NeurIPS 2019, arXiv:1906.07413), whose code keeps the
    weight as [D, C] and whose loss has the scale. With it as in RoBal (Wu et al., CVPR 2021,
    arXiv:2104.02703); squashed as in OLTR (Liu et al., CVPR 2019, arXiv:1904.05160).

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
