"""Focal loss, of softmax probabilities and of one-vs-all sigmoids.

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv:1708.02002), equation 4, which
is binary: `sigmoid_focal`. The long-tailed literature uses its softmax form: `focal`.
"""

import torch
from torch import Tensor

from ltbench.core.checks import check_shape, check_value
from ltbench.core.distributed import global_mean
from ltbench.losses.binary import binary, one_vs_all_targets
from ltbench.losses.counts import as_constant
from ltbench.losses.cross_entropy import cross_entropies


def focal(
    logits: Tensor,
    labels: Tensor,
    gamma: float = 2.0,
    weights: Tensor | None = None,
    *,
    detach: bool = False,
) -> Tensor:
    """Return the mean focal loss of softmax probabilities.

        (1 - q)^gamma * (-log q), with q = p_y and p = softmax(z)

    With class weights q is p_y^w, as in the code of Cao et al. (LDAM, 2019), and the mean divides
    by the size of the batch, not by the sum of its weights.

    Args:
        logits: [B, C].
        labels: [B], int64.
        gamma: focusing exponent, at least 0; 0 is cross-entropy.
        weights: [C], of the classes.
        detach: whether the factor is constant for the gradient.
    """
    _check(logits, gamma, weights)
    losses = cross_entropies(logits, labels)
    if weights is not None:
        losses = as_constant(weights, logits)[labels] * losses
    # A loss of exactly 0 would have an infinite slope to the power of gamma < 1.
    tiny = torch.finfo(losses.dtype).tiny
    missed = -torch.expm1(-torch.where(losses > tiny, losses, tiny))  # 1 - q
    factors = missed**gamma
    return global_mean((factors.detach() if detach else factors) * losses)


def sigmoid_focal(
    logits: Tensor, labels: Tensor, gamma: float = 2.0, weights: Tensor | None = None
) -> Tensor:
    """Return the mean focal loss of one-vs-all sigmoids.

        w_y * sum_c (1 - p_c)^gamma * (-log p_c)

    p_c is the probability of the right answer to "is it class c?": sigmoid(z_c) for the label,
    sigmoid(-z_c) for other classes.

    Args:
        logits: [B, C].
        labels: [B], int64.
        gamma: focusing exponent, at least 0; 0 is binary cross-entropy.
        weights: [C], of samples by label; the mean divides by the size of the batch.
    """
    _check(logits, gamma, weights)
    targets = one_vs_all_targets(labels, logits.shape)
    sample_weights = None if weights is None else weights[labels]
    return binary(logits, targets, gamma=gamma, sample_weights=sample_weights)


def _check(logits: Tensor, gamma: float, weights: Tensor | None) -> None:
    check_value("gamma", gamma, "at least 0", holds=gamma >= 0)
    if weights is not None:
        check_shape("weights", weights, logits.shape[-1])
