"""MaxNorm: a bound on the norms of class weights.

Alshammari, Wang, Ramanan, Kong, "Long-Tailed Recognition via Weight Balancing", CVPR 2022
(arXiv:2203.14197).
"""

import torch
from torch import Tensor

from ltbench.losses.counts import or_one


def norm_bound(weight: Tensor, share: float) -> Tensor:
    """Return a bound between the smallest and largest norms of class weights.

    Args:
        weight: [C, D].
        share: of the distance between the two, from the smallest on.

    Returns:
        [], one bound for all classes.
    """
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1)
    least, most = norms.aminmax()
    return least + share * (most - least)


def bounded(weight: Tensor, bound: Tensor) -> Tensor:
    """Return class weights, those of larger norm scaled to the bound.

    Args:
        weight: [C, D].
        bound: [], on the norms.

    Returns:
        [C, D].
    """
    norms = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # [C, 1]
    return torch.where(norms > bound, weight * (bound / or_one(norms)), weight)
