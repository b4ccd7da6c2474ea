"""The losses of ResLT's branches.

Cui et al., "ResLT: Residual Learning for Long-tailed Recognition", TPAMI 2022 (arXiv:2101.10633),
in the form of the authors' code.
"""

import torch
from torch import Tensor

from ltbench.core.distributed import global_mean


def class_groups(counts: Tensor, medium_from: float, few_from: float) -> Tensor:
    """Return which classes each branch is responsible for [3, C]: all, medium and few, few.

    Args:
        counts: [C], training images a class.
        medium_from: share of the classes, largest first, that are not medium or few.
        few_from: share of the classes, largest first, that are not few.
    """
    classes = len(counts)
    ranks = torch.empty_like(counts)
    ranks[counts.argsort(descending=True, stable=True)] = torch.arange(
        classes, device=counts.device
    )
    starts = [0, round(medium_from * classes), round(few_from * classes)]
    return torch.stack([ranks >= start for start in starts])


def branch_loss(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Return the mean of -log(softmax(z_k)_y + 1e-7) over pairs of a branch and its own samples.

    It is one mean for all branches, so that a branch counts by its own samples in the batch.

    Args:
        logits: [K, B, C].
        labels: [B], int64.
        groups: [K, C], which classes are a branch's own; the first branch has all.
    """
    own = groups[:, labels]  # [K, B]
    picked = labels.expand(len(logits), -1)[..., None]  # [K, B, 1]
    likelihood = logits.softmax(dim=2).gather(2, picked).squeeze(2)
    return global_mean(-(likelihood + 1e-7).log().flatten(), own.flatten())
