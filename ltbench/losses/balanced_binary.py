"""Balanced binary cross-entropy: one-vs-all classifiers with the class prior in their logits.

Xu, Liu, Yang, Chai, Yuan, "Learning Imbalanced Data with Vision Transformers", CVPR 2023
(arXiv:2212.02015), section 3.4.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_shape, check_value
from ltbench.core.distributed import global_mean
from ltbench.losses.binary import one_vs_all_targets
from ltbench.losses.counts import as_constant, class_sizes


def log_odds(counts: Tensor) -> Tensor:
    """Return the classes' log prior odds, log pi - log(1 - pi).

    Args:
        counts: [C], training images per class, of two classes at least.

    Returns:
        [C] float64.

    Raises:
        ValueError: for a class without images, or a single class.
    """
    sizes = class_sizes(counts)
    if len(sizes) < 2:
        raise ValueError("counts: expected at least two classes, a single one has no odds")
    return sizes.log() - (sizes.sum() - sizes).log()


def balanced_binary(
    logits: Tensor, labels: Tensor, counts: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Return the mean binary cross-entropy with the prior, summed over classes.

    It is the mean over samples of

        sum_c -t_c log sigmoid(z_c + b_c) - (1 - t_c) log sigmoid(-z_c - b_c)

    b is `log_odds`; t_c is 1 - s + s / C of the label's class, s / C of all others.

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        smoothing: s, of the labels.

    Raises:
        ValueError: for a class without images, or a single class.
    """
    check_shape("counts", counts, logits.shape[-1])
    check_value("smoothing", smoothing, "0 to 1", holds=0 <= smoothing <= 1)
    own = one_vs_all_targets(labels, logits.shape)
    adjusted = at_least_float32(logits) + as_constant(log_odds(counts), logits)
    targets = own.to(adjusted.dtype) * (1 - smoothing) + smoothing / logits.shape[1]
    losses = F.binary_cross_entropy_with_logits(adjusted, targets, reduction="none")
    return global_mean(losses.sum(dim=1))
