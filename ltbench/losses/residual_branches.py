"""Losses of ResLT's branches.

Cui et al., "ResLT: Residual Learning for Long-tailed Recognition", TPAMI 2022 (arXiv:2101.10633),
in the form of the authors' code.
"""

import torch
from torch import Tensor

from ltbench.core.distributed import global_mean


def class_groups(counts: Tensor, medium_from: float, few_from: float) -> Tensor:
    """Return the classes of each branch: all, medium and few-shot, few-shot.

    Args:
        counts: [C], training images per class.
        medium_from: share of many-shot classes, in order of size.
        few_from: share of many- and medium-shot classes, in order of size.

    Returns:
        [3, C] bool.
    """
    classes = len(counts)
    ranks = torch.empty_like(counts)
    ranks[counts.argsort(descending=True, stable=True)] = torch.arange(
        classes, device=counts.device
    )
    starts = [0, round(medium_from * classes), round(few_from * classes)]
    return torch.stack([ranks >= start for start in starts])


def branch_loss(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Return the branches' mean loss on samples of their classes.

    One mean of -log(softmax(z_k)_y + 1e-7) over all pairs of a branch and a sample of its classes:
    a branch weighs by its samples in the batch.

    Args:
        logits: [K, B, C].
        labels: [B], int64.
        groups: [K, C] bool, the classes of each branch; the first has all.
    """
    own = groups[:, labels]  # [K, B]
    picked = labels.expand(len(logits), -1)[..., None]  # [K, B, 1]
    likelihood = logits.softmax(dim=2).gather(2, picked).squeeze(2)
    return global_mean(-(likelihood + 1e-7).log().flatten(), own.flatten())
