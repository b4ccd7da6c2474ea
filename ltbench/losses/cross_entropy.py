"""Softmax cross-entropy, plain or weighted by class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.checks import check_labels, check_shape
from ltbench.core.distributed import global_mean

NO_CLASS = torch.iinfo(torch.int64).min
"""The `ignore_index`: none, so that -100 is out of range on an accelerator too."""


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each sample, [B].

    Args:
        logits: [B, C].
        labels: [B], int64.
    """
    check_labels(labels, logits.shape, values=False)
    try:
        return F.cross_entropy(logits, labels, reduction="none", ignore_index=NO_CLASS)
    except IndexError:  # the kernel checks values without loss of time
        check_labels(labels, logits.shape)
        raise


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over the global batch of -log softmax(z)_y.

    With class weights it is the weighted mean: divided by the sum of the batch's weights, not by
    its size, so that a common factor of the weights has no effect.

    Args:
        logits: [B, C].
        labels: [B], int64.
        weights: [C], of the classes.
    """
    losses = cross_entropies(logits, labels)
    if weights is not None:
        check_shape("weights", weights, logits.shape[1])
    return global_mean(losses, None if weights is None else weights[labels])
