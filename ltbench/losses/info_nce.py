"""InfoNCE: contrast of a query's positive key with negative ones.

van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding"
(arXiv:1807.03748), equation (4), in the form of MoCo (He et al., CVPR 2020, arXiv:1911.05722).
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_shape, check_value
from ltbench.losses.contrast import contrast, similarities


def info_nce(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    temperature: float,
    counted: Tensor | None = None,
) -> Tensor:
    """Return the mean InfoNCE loss over the global batch.

    -log softmax(q k / T) at the positive key, over the positive and all negative keys k.

    Args:
        queries: [B, D], of length 1.
        positives: [B, D], a key for each query.
        negatives: [K, D], keys of other images.
        temperature: T.
        counted: [B, K] bool, the negatives of each query; all by default.
    """
    check_shape("positives", positives, *queries.shape)
    check_value("temperature", temperature, "more than 0", holds=temperature > 0)
    products = at_least_float32(queries) * at_least_float32(positives)
    positive = products.sum(dim=1, keepdim=True) / temperature  # [B, 1]
    negative = similarities(queries, negatives, temperature)  # [B, K]
    is_positive = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)], dim=1)
    scores = torch.cat([positive, negative], dim=1)  # [B, 1 + K]
    if counted is None:
        return contrast(scores, is_positive)
    check_shape("counted", counted, *negative.shape)
    return contrast(scores, is_positive, torch.cat([is_positive[:, :1].bool(), counted], dim=1))
