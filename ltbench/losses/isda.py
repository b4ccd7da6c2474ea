"""Logits of implicit semantic data augmentation (ISDA).

Wang, Pan, Song, Zhang, Wu, Huang, "Implicit Semantic Data Augmentation for Deep Networks", NeurIPS
2019 (arXiv:1909.12220), proposition 1: an upper bound of the cross-entropy, expected over features
with normal noise.
"""

from torch import Tensor

from ltbench.core.autocast import at_least_float32, no_autocast
from ltbench.core.checks import check_labels, check_shape


def isda_logits(
    logits: Tensor, labels: Tensor, weight: Tensor, variances: Tensor, strength: float
) -> Tensor:
    """Return logits whose cross-entropy bounds that under noise in the features.

        z_c + strength / 2 (w_c - w_y)^T Sigma_y (w_c - w_y)

    Args:
        logits: [B, C], of a linear classifier.
        labels: [B], int64.
        weight: [C, D], of the classifier.
        variances: [C, D, D], covariances of the classes' features; or [C, D], variances alone.
        strength: factor of the variances.

    Returns:
        [B, C], float32 at least.
    """
    check_labels(labels, logits.shape)
    classes, width = logits.shape[1], weight.shape[-1]
    check_shape("weight", weight, classes, "D")
    check_shape("variances", variances, classes, *[width] * (variances.dim() - 1))
    with no_autocast(logits):
        weight = at_least_float32(weight)
        differences = weight - weight[labels].unsqueeze(1)  # [B, C, D]
        own = variances.to(weight.dtype)[labels]
        spread = differences * own.unsqueeze(1) if own.dim() == 2 else differences @ own
        return logits.to(weight.dtype) + strength / 2 * (spread * differences).sum(dim=2)
