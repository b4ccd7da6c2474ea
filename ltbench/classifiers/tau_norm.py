"""Weights normalised by a power of their norm."""

import torch
from torch import Tensor


def tau_normalised(weight: Tensor, tau: float) -> Tensor:
    """Return w_c / ||w_c||^tau; the classifier that uses it has no bias.

    Kang et al., ICLR 2020 (arXiv:1910.09217), equation 3.

    Args:
        weight: [C, D].
        tau: 0 leaves the weights alone, 1 gives all classes the norm 1.
    """
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # [C, 1]
    return weight / norms.clamp_min(torch.finfo(weight.dtype).tiny).pow(tau)
