"""The range loss: distances within a batch's classes and between their means.

Zhang, Fang, Wen, Li, Qiao, "Range Loss for Deep Face Recognition With Long-Tailed Training Data",
ICCV 2017 (arXiv:1611.08976).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import MOST_CLASSES, check_labels, check_shape, check_value
from ltbench.losses.counts import or_one
from ltbench.losses.finite_gradients import root


def range_loss(
    features: Tensor, labels: Tensor, margin: float, *, hardest: int = 2, squared: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the losses within and between the classes of a global batch.

        sum_c k / sum_(j <= k) 1 / D_cj, D_cj the j-th largest distance of two images of class c
        max(0, m - D), D the distance of the two nearest class means

    A class of a single image has no first loss, one with fewer than k pairs takes all of them; two
    equal images have distance 0, and so have their class's loss and its gradient. A batch of one
    class has no second loss.

    Args:
        features: [N, D] of all ranks.
        labels: [N], int64.
        margin: distance of means at which the second loss ends (m).
        hardest: pairs of a class (k).
        squared: whether distances are squared, as in the paper.

    Returns:
        Two scalars, without their weights.
    """
    check_shape("features", features, "N", "D")
    check_labels(labels, (len(features), MOST_CLASSES))
    check_value("margin", margin, "at least 0", holds=margin >= 0)
    check_value("hardest", hardest, "at least 1", holds=hardest >= 1)
    features = at_least_float32(features)
    first = (labels[:, None] == labels).long().argmax(dim=1)  # [N], of the class, as its name
    return (
        _within(features, first, hardest, squared=squared),
        _between(features, first, margin, squared=squared),
    )


def _within(features: Tensor, first: Tensor, k: int, *, squared: bool) -> Tensor:
    """Return the summed harmonic means of each class's k largest distances."""
    size = len(features)
    pairs = (first[:, None] == first).triu(1)  # [N, N]
    owner = torch.where(pairs, first[:, None], size).flatten()  # [N * N]
    order = _distances(features).flatten().argsort(descending=True, stable=True)
    order = order[owner[order].argsort(stable=True)]  # by class, farthest first
    owner = owner[order]
    of_class = first.new_zeros(size + 1).index_add(0, owner, torch.ones_like(owner))
    place = torch.arange(len(order), device=order.device) - (of_class.cumsum(0) - of_class)[owner]
    slot = torch.where((owner < size) & (place < k), owner * k + place, size * k)
    chosen = order.new_zeros(size * k + 1).scatter(0, slot, order)[:-1].view(size, k)
    counted = torch.arange(k, device=order.device) < of_class[:-1, None]  # [N, k]

    distances = _length(features[chosen // size] - features[chosen % size], squared=squared)
    least = torch.where(counted, distances.detach(), torch.inf).amin(dim=1, keepdim=True)
    counted &= least > 0
    least = torch.where(counted[:, :1], least, 1)
    relative = torch.where(counted, distances, least) / least  # whose inverse does not overflow
    inverse = torch.where(counted, 1 / relative, 0).sum(dim=1, keepdim=True)
    return (counted.sum(dim=1, keepdim=True) * least / or_one(inverse)).sum()


def _between(features: Tensor, first: Tensor, margin: float, *, squared: bool) -> Tensor:
    """Return the hinge of the distance of the two nearest class means."""
    size = len(features)
    sums = torch.zeros_like(features).index_add(0, first, features)
    images = features.new_zeros(size).index_add(0, first, features.new_ones(size))
    means = sums / or_one(images)[:, None]  # [N, D], in the row of each class's first image
    there = images > 0
    pairs = (there[:, None] & there).triu(1)
    nearest = torch.where(pairs, _distances(means), torch.inf).argmin()[None]
    difference = means[nearest // size] - means[nearest % size]  # [1, D]
    hinge = F.relu(margin - _length(difference, squared=squared)).sum()
    return torch.where(pairs.any(), hinge, 0)


@torch.no_grad()
def _distances(rows: Tensor) -> Tensor:
    """Return the distances [N, N] of rows, to be compared."""
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


def _length(difference: Tensor, *, squared: bool) -> Tensor:
    squares = difference.square().sum(dim=-1)
    return squares if squared else root(squares)
