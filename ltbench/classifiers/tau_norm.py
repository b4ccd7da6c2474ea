"""Weights normalized by a power of their norm, and the classifier that learns the power."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def tau_normalized(weight: Tensor, tau: float | Tensor) -> Tensor:
    """Return w_c / ||w_c||^tau; the classifier that uses it has no bias.

    Kang et al., ICLR 2020 (arXiv:1910.09217), equation 3.

    Args:
        weight: [C, D].
        tau: 0 leaves the weights alone, 1 gives all classes the norm 1; a tensor [] gets gradients.
    """
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # [C, 1]
    return weight / norms.clamp_min(torch.finfo(weight.dtype).tiny).pow(tau)


class TauNormalized(nn.Linear):
    """Features [B, D] -> x w_c / ||w_c||^tau [B, C], with a tau [] that begins at 0; no bias.

    Kang et al., ICLR 2020 (arXiv:1910.09217). A linear classifier's `weight` loads into it; which
    of `weight` and `tau` is trained is the caller's choice.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes, bias=False)
        self.tau = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of features [B, D]."""
        return F.linear(features, tau_normalized(self.weight, self.tau))
