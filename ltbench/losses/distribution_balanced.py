"""Distribution-balanced loss: re-balanced weights and a tolerance of negatives.

Wu, Huang, Liu, Wang, Lin, "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
Datasets", ECCV 2020 (arXiv:2007.09654).
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_shape
from ltbench.losses.binary import binary
from ltbench.losses.counts import as_constant, class_sizes

FOCAL_SCALE = 2.0
"""Factor of the focal loss in the authors' code."""


def rebalanced_weights(
    targets: Tensor, counts: Tensor, alpha: float = 0.1, beta: float = 10.0, mu: float = 0.2
) -> Tensor:
    """Return the smoothed weights of an image's classes under class-aware sampling.

        alpha + sigmoid(beta (r_c - mu)), with r_c = (1 / n_c) / sum_k [t_k] / n_k

    r_c is the ratio of how often the image is drawn for class c and for any of its own classes.
    With a single label y it is n_y / n_c.

    Args:
        targets: [B, C], bool, at least one of a row.
        counts: [C], training images per class.
        alpha: lift of all weights.
        beta: steepness of the map.
        mu: ratio in the middle of the map.

    Returns:
        [B, C] float64.

    Raises:
        ValueError: for a class without images.
    """
    check_shape("counts", counts, targets.shape[-1])
    inverse = 1 / class_sizes(counts)
    ratio = inverse / (targets * inverse).sum(dim=1, keepdim=True)
    return alpha + torch.sigmoid(beta * (ratio - mu))


def class_bias(counts: Tensor, images: Tensor, kappa: float = 0.05, scale: float = 2.0) -> Tensor:
    """Return the initial biases of classes, [C] float64.

    kappa / scale ln(images / n - 1).

    Args:
        counts: [C], training images per class.
        images: of the training set, more than of any class.
        kappa: size of the bias.
        scale: that of `distribution_balanced`.

    Raises:
        ValueError: for a class without images.
    """
    return kappa / scale * (images / class_sizes(counts) - 1).log()


def distribution_balanced(
    logits: Tensor,
    targets: Tensor,
    bias: Tensor,
    weights: Tensor,
    scale: float = 2.0,
    gamma: float = 2.0,
) -> Tensor:
    """Return the mean over samples of the weighted, negative-tolerant focal loss.

        sum_c w_c 2 (1 - p_c)^gamma (-log p_c), for positives p_c = sigmoid(z_c - b_c);
        1 / scale of it for negatives, p_c = sigmoid(-scale (z_c - b_c))

    With gamma 0 it is cross-entropy, without the factor 2.

    Args:
        logits: [B, C].
        targets: [B, C], bool.
        bias: [C], of `class_bias`.
        weights: [B, C], of `rebalanced_weights`.
        scale: of negatives' logits (lambda of the paper); 1 tolerates none.
        gamma: focusing exponent, at least 0.
    """
    check_shape("targets", targets, *logits.shape)
    check_shape("bias", bias, logits.shape[1])
    check_shape("weights", weights, *logits.shape)
    logits = at_least_float32(logits)
    shifted = logits - as_constant(bias, logits)
    shifted = torch.where(targets, shifted, scale * shifted)
    weights = torch.where(targets, weights, weights / scale)
    return binary(shifted, targets, weights * (FOCAL_SCALE if gamma else 1.0), gamma)
