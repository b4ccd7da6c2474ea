"""The cosine classifier of LDAM: no scale, no bias."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineClassifier(nn.Module):
    """Features [B, D] -> cosines [B, C] between features and class weights, in [-1, 1].

    Cao et al., NeurIPS 2019 (arXiv:1906.07413); their code keeps the weight as [D, C].
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        directions = torch.empty(classes, width).uniform_(-1, 1)
        self.weight = nn.Parameter(F.normalize(directions))

    def forward(self, features: Tensor) -> Tensor:
        """Return cosines [B, C] of features [B, D]."""
        return F.linear(F.normalize(features), F.normalize(self.weight))
