"""Classifier of learnable weight scaling."""

import torch
from torch import Tensor, nn


class LearnableScale(nn.Linear):
    """Linear classifier with a learnable scale per class, initially 1.

    Features [B, D] -> s_c (w_c x + b_c) [B, C]. Kang et al., ICLR 2020 (arXiv:1910.09217). Takes
    the `weight` and `bias` of a linear classifier; the caller chooses which of `weight`, `bias` and
    `scale` are trained.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        self.scale = nn.Parameter(torch.ones(classes))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of features [B, D]."""
        return self.scale * super().forward(features)
