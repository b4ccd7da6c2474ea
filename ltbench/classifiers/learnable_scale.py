"""The classifier of learnable weight scaling."""

import torch
from torch import Tensor, nn


class LearnableScale(nn.Linear):
    """Features [B, D] -> s_c (w_c x + b_c) [B, C], with scales s that begin at 1.

    Kang et al., ICLR 2020 (arXiv:1910.09217). A linear classifier's `weight` and `bias` load into
    it; which of `weight`, `bias` and `scale` is trained is the caller's choice.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        self.scale = nn.Parameter(torch.ones(classes))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of features [B, D]."""
        return self.scale * super().forward(features)
