"""Losses of ResLT's branches.

Cui et al., "ResLT: Residual Learning for Long-tailed Recognition", TPAMI 2022 (arXiv:2101.10633),
in the form of the authors' code.
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape, check_value
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import class_sizes


def nested_groups(counts: Tensor, medium_from: float, few_from: float) -> Tensor:
    """Return nested groups of classes: all, medium- and few-shot, few-shot.

    Args:
        counts: [C], training images per class.
        medium_from: share of many-shot classes, in order of size.
        few_from: share of many- and medium-shot classes, in order of size.

    Returns:
        [3, C] bool.
    """
    check_value("medium_from", medium_from, "0 to 1", holds=0 <= medium_from <= 1)
    check_value("few_from", few_from, f"{medium_from} to 1", holds=medium_from <= few_from <= 1)
    ranks = class_sizes(counts, allow_empty=True).argsort(descending=True, stable=True).argsort()
    classes = len(ranks)
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
    check_shape("logits", logits, "K", "B", "C")
    check_labels(labels, logits.shape[1:])
    check_shape("groups", groups, len(logits), logits.shape[2])
    own = groups[:, labels]  # [K, B]
    picked = labels.expand(len(logits), -1)[..., None]  # [K, B, 1]
    likelihood = at_least_float32(logits).softmax(dim=2).gather(2, picked).squeeze(2)
    return global_mean(-(likelihood + 1e-7).log().flatten(), own.flatten())
