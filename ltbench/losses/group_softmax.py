"""Softmax within groups of classes of similar size, for BAGS.

Li et al., "Overcoming Classifier Imbalance for Long-Tail Object Detection with Balanced Group
Softmax", CVPR 2020 (arXiv:2006.10408). Each of K groups has an output "others" beside its classes:
outputs [K + C] are the K "others", then the C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape, check_value
from ltbench.core.distributed import all_sum, gather, own_rows, world_size
from ltbench.losses.counts import as_constant, check_counts, or_one


def size_groups(counts: Tensor, thresholds: Sequence[int]) -> Tensor:
    """Return the group of each class by its number of images.

    Args:
        counts: [C], training images per class.
        thresholds: numbers of images from which on a class is in a further group, in any order.

    Returns:
        [C] int64, from 0 to K - 1; a group without classes has no number.
    """
    check_counts(counts, allow_empty=True)
    reached = counts.unsqueeze(1) >= torch.tensor(thresholds, device=counts.device)  # [C, T]
    bins = reached.sum(dim=1)
    numbers = (torch.bincount(bins) > 0).cumsum(0) - 1  # of the bins with classes
    return numbers[bins]


def group_log_softmax(logits: Tensor, groups: Tensor) -> Tensor:
    """Return the log-probabilities of "others" and classes within their groups.

    Args:
        logits: [B, K + C].
        groups: [C] int64, the group of each class, from 0 to K - 1.

    Returns:
        [B, K + C], in at least float32.
    """
    check_shape("logits", logits, "B", "K + C")
    check_shape("groups", groups, "C")
    logits = at_least_float32(logits)
    numbers = torch.arange(logits.shape[1] - len(groups), device=logits.device)  # [K]
    columns = torch.cat([numbers, groups])  # the group of each output
    outside = columns != numbers.unsqueeze(1)  # [K, K + C]
    totals = logits.unsqueeze(1).masked_fill(outside, -torch.inf).logsumexp(dim=2)  # [B, K]
    return logits - totals[:, columns]


def group_softmax(
    logits: Tensor, labels: Tensor, groups: Tensor, counted: Tensor | None = None
) -> Tensor:
    """Return the sum over groups of the mean cross-entropy within the group.

        L = sum_k 1 / |S_k| sum_(i in S_k) -log softmax(z_ik)_t,  z_ik the outputs of group k

    The target t is the label in the group of the label, and "others" in each other group. The mean
    is over the global batch; a group without samples S_k adds 0.

    Args:
        logits: [B, K + C].
        labels: [B], int64.
        groups: [C] int64, the group of each class, from 0 to K - 1.
        counted: [B, K] bool, the samples S_k of each group; all by default.
    """
    log_probabilities = group_log_softmax(logits, groups)
    check_labels(labels, (len(logits), len(groups)))
    numbers = torch.arange(logits.shape[1] - len(groups), device=logits.device)  # [K]
    own = groups[labels].unsqueeze(1) == numbers  # [B, K]
    targets = torch.where(own, len(numbers) + labels.unsqueeze(1), numbers)  # [B, K]
    if counted is None:
        counted = torch.ones_like(own)
    check_shape("counted", counted, *own.shape)
    samples = all_sum(counted.sum(dim=0))  # [K]
    weights = counted / as_constant(or_one(samples), log_probabilities)  # [B, K]
    losses = -log_probabilities.gather(1, targets)  # [B, K]
    return world_size() * (weights * losses).sum()


def counted_samples(labels: Tensor, groups: Tensor, numbers: Tensor, ratio: float) -> Tensor:
    """Draw the samples of each group's mean.

    Of N samples of a group's classes in the global batch, int(ratio N) others count.

    Args:
        labels: [B], int64.
        groups: [C] int64, the group of each class, from 0 to K - 1.
        numbers: [B, K] uniform random numbers; those with the smallest count.
        ratio: others per sample of the group's classes.

    Returns:
        [B, K] bool.
    """
    check_value("ratio", ratio, "at least 0", holds=ratio >= 0)
    check_labels(labels, (len(numbers), len(groups)))
    own = groups[labels].unsqueeze(1) == torch.arange(numbers.shape[1], device=numbers.device)
    drawn = (ratio * all_sum(own.sum(dim=0)).double()).long()  # [K]
    everywhere = gather(numbers.masked_fill(own, torch.inf))  # others first, [W * B, K]
    ranks = everywhere.argsort(dim=0, stable=True).argsort(dim=0)
    ranks = ranks[own_rows(len(labels))]
    return own | (ranks < drawn)
