"""Equalization loss v2: weights from each class's accumulated gradients.

Tan, Lu, Zhang, Yin, Li, "Equalization Loss v2: A New Gradient Balance Approach for Long-tailed
Object Detection", CVPR 2021 (arXiv:2012.08548). The loss is `binary` with these weights.
"""

import torch
from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.core.distributed import all_sum

EPSILON = 1e-10


def gradient_guided_weights(
    sums: Tensor, gamma: float = 12.0, mu: float = 0.8, alpha: float = 4.0
) -> tuple[Tensor, Tensor]:
    """Return the weights of positive and of negative terms by class.

        f = 1 / (1 + exp(-gamma (g - mu))) for negatives, 1 + alpha (1 - f) for positives

    with g the gradients of positives divided by those of negatives. Before a class has had a
    negative gradient both weights are 1.

    Args:
        sums: [2, C] of positives and of negatives, see `gradient_sums`.
        gamma: steepness of f.
        mu: ratio g where f is a half.
        alpha: largest addition to the weight of positives.

    Returns:
        [C] each, in the precision of the sums.
    """
    positive, negative = sums
    ratio = positive / (negative + EPSILON)
    suppressed = torch.where(negative > 0, torch.sigmoid(gamma * (ratio - mu)), 1.0)
    return 1 + alpha * (1 - suppressed), suppressed


def gradient_sums(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted gradients' sums over positives and over negatives.

    Args:
        logits: [B, C].
        targets: [B, C], bool.
        weights: [B, C], of the terms.

    Returns:
        [2, C] float64, without gradient: sums of w |sigmoid(z) - t|.
    """
    check_shape("targets", targets, *logits.shape)
    check_shape("weights", weights, *logits.shape)
    sizes = weights.double() * (logits.detach().double().sigmoid() - targets.double()).abs()
    return all_sum(torch.stack([(sizes * targets).sum(0), (sizes * ~targets).sum(0)]))
