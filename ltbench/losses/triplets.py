"""Minority classes and hard images of a batch, for triplets.

Dong, Gong, Zhu, "Class Rectification Hard Mining for Imbalanced Deep Learning", ICCV 2017
(arXiv:1712.03162).
"""

import torch
from torch import Tensor

MINORITY = 0.5
"""Largest share of a batch that its minority classes have together (rho)."""


def minority_classes(drawn: Tensor, size: int, counts: Tensor) -> Tensor:
    """Return the smallest classes of a batch, [C] bool.

    Args:
        drawn: [C], images per class of the batch; classes with fewer than two are none of them.
        size: of the batch.
        counts: [C], training images per class, by which classes with equally many images in the
            batch are ordered.
    """
    order = counts.argsort(stable=True)
    order = order[drawn[order].argsort(stable=True)]
    among = drawn[order].cumsum(0) <= MINORITY * size
    return torch.zeros_like(among).scatter(0, order, among) & (drawn >= 2)


def largest(scores: Tensor, allowed: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the columns of each row's k largest allowed scores.

    Args:
        scores: [R, N].
        allowed: [R, N] bool.
        k: at most N.

    Returns:
        [R, k] int64, largest first, and [R, k] bool: False where a row has fewer allowed scores.
    """
    found = scores.masked_fill(~allowed, -torch.inf).topk(k, dim=1)
    return found.indices, found.values > -torch.inf
