"""Logit compensation of LTML: normal distributions of logits by class and sign.

Guo and Wang, "Long-Tailed Multi-Label Visual Recognition by Collaborative Training on Uniform and
Re-balanced Samplings", CVPR 2021, section 3.3.
"""

import torch
from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.core.distributed import all_sum
from ltbench.losses.counts import as_constant, check_counts, or_one


def compensated_logits(logits: Tensor, targets: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return z sigma + mu, by class and by membership.

    Args:
        logits: [B, C].
        targets: [B, C] bool.
        scale: sigma [2, C], of samples not of the class, and of those of it.
        offset: mu [2, C].
    """
    check_shape("logits", logits, "B", "C")
    check_shape("targets", targets, *logits.shape)
    check_shape("scale", scale, 2, logits.shape[1])
    check_shape("offset", offset, 2, logits.shape[1])
    logits = as_constant(logits, logits)
    scale, offset = as_constant(scale, logits), as_constant(offset, logits)
    return torch.where(targets, logits * scale[1] + offset[1], logits * scale[0] + offset[0])


def logit_moments(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return number, mean and standard deviation of logits by class and sign.

    They are of the global batch, in float64, without gradient; 0 where there are no logits.

    Args:
        logits: [B, C].
        targets: [B, C] bool.

    Returns:
        Three tensors [2, C], of samples not of the class, and of those of it.
    """
    check_shape("logits", logits, "B", "C")
    check_shape("targets", targets, *logits.shape)
    values = logits.detach().double()
    member = torch.stack([~targets, targets]).double()  # [2, B, C]
    number = all_sum(member.sum(dim=1))
    mean = all_sum((member * values).sum(dim=1)) / or_one(number)
    squares = (values - mean.unsqueeze(1)).square()  # [2, B, C]
    variance = all_sum((member * squares).sum(dim=1)) / or_one(number)
    return number, mean, variance.sqrt()


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
