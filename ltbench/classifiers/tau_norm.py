"""tau-normalized class weights, and a classifier with a learnable tau."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltbench.losses.counts import or_one


def tau_normalized(weight: Tensor, tau: float | Tensor) -> Tensor:
    """Return w_c / ||w_c||^tau, to be used without bias.

    Kang et al., ICLR 2020 (arXiv:1910.09217), equation 3.

    Args:
        weight: [C, D]; rows of zeros stay.
        tau: 0 leaves the weights unchanged, 1 gives all classes the norm 1; a tensor [] gets a
            gradient.
    """
    norms = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # [C, 1]
    return weight / or_one(norms).pow(tau)


class TauNormalized(nn.Linear):
    """tau-normalized classifier with a learnable tau, initially 0.

    Features [B, D] -> x w_c / ||w_c||^tau [B, C]. Kang et al., ICLR 2020 (arXiv:1910.09217). Takes
    the `weight` of a linear classifier; the caller chooses which of `weight` and `tau` are trained.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes, bias=False)
        self.tau = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of features [B, D]."""
        return F.linear(features, tau_normalized(self.weight, self.tau))
