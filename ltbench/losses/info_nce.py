"""Contrast of a query's own key with others.

van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding"
(arXiv:1807.03748), equation (4), in the form of MoCo (He et al., CVPR 2020, arXiv:1911.05722).
"""

import torch
from torch import Tensor

from ltbench.losses.cross_entropy import cross_entropy


def info_nce(queries: Tensor, keys: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Return the mean over the global batch of -log softmax(q k / T), k among its key and others.

    Args:
        queries: [B, D], of length 1.
        keys: [B, D], one a query.
        others: [K, D], of other images.
        temperature: T.
    """
    own = (queries * keys).sum(dim=1, keepdim=True)  # [B, 1]
    similarities = torch.cat([own, queries @ others.T], dim=1)  # [B, 1 + K]
    first = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    return cross_entropy(similarities / temperature, first)
