"""LTML's weights of binary losses.

Guo and Wang, "Long-Tailed Multi-Label Visual Recognition by Collaborative Training on Uniform and
Re-balanced Samplings", CVPR 2021.
"""

import torch
from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.losses.counts import check_counts


def balancing_weights(targets: Tensor, counts: Tensor) -> Tensor:
    """Return exp(1 - pi) of own, exp(pi) of other classes, [B, C].

    Args:
        targets: [B, C] bool.
        counts: [C], training images per class, of which pi are the shares.
    """
    check_counts(counts)
    check_shape("targets", targets, "B", len(counts))
    shares = counts.double() / counts.sum()
    return torch.where(targets, (1 - shares).exp(), shares.exp())
