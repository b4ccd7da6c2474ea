"""The influence-balanced loss.

Park, Lim, Jeon, Choi, "Influence-Balanced Loss for Imbalanced Visual Classification", ICCV 2021
(arXiv:2110.02444).
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_shape
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import as_constant
from ltbench.losses.cross_entropy import cross_entropies


def influence_balanced(
    logits: Tensor,
    labels: Tensor,
    features: Tensor,
    weights: Tensor,
    alpha: float = 1000.0,
    gamma: float = 0.0,
    epsilon: float = 1e-3,
) -> Tensor:
    """Return the mean cross-entropy, divided by each image's influence.

        alpha l / (||p - y||_1 ||h||_1 + epsilon), with l = -w_y log p_y

    The influence is the L1 norm of the cross-entropy's gradient for the classifier's weight. It is
    no constant: the gradient passes through it, as in the authors' code. With gamma there is a
    factor (1 - exp(-l))^gamma, as of focal loss.

    Args:
        logits: [B, C].
        labels: [B], int64.
        features: [B, D], the classifier's input (h).
        weights: [C], of the classes.
        alpha: factor of the loss.
        gamma: focusing exponent, at least 0.
        epsilon: added to the influence, as in the authors' code.
    """
    losses = cross_entropies(at_least_float32(logits), labels)  # [B]
    check_shape("features", features, len(logits), "D")
    check_shape("weights", weights, logits.shape[1])
    residuals = -2 * torch.expm1(-losses)  # ||p - y||_1 = 2 (1 - p_y)
    influences = residuals * at_least_float32(features).abs().sum(dim=1)
    losses = as_constant(weights, logits)[labels] * losses
    # A loss of exactly 0 would have an infinite slope to the power of gamma < 1.
    missed = torch.finfo(losses.dtype).tiny - torch.expm1(-losses)
    return global_mean(alpha * missed**gamma * losses / (influences + epsilon))
