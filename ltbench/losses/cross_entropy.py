"""Softmax cross-entropy, plain or weighted by class."""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.distributed import global_mean


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over the global batch of -log softmax(z)_y.

    With class weights it is the weighted mean: divided by the sum of the batch's weights, not by
    its size, so that a common factor of the weights has no effect.

    Args:
        logits: [B, C].
        labels: [B], int64.
        weights: [C], of the classes.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")  # [B]
    return global_mean(losses, None if weights is None else weights[labels])
