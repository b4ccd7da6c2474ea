"""Class targets far apart on the unit sphere, and their assignment.

Li et al., "Targeted Supervised Contrastive Learning for Long-Tailed Recognition", CVPR 2022
(arXiv:2111.13998), section 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.07
RATE = 1e-3


def crowding(points: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the mean log of summed exp cosines of points.

    Args:
        points: [C, D], of length 1.
        temperature: of the cosines.
    """
    return (points @ points.T / temperature).logsumexp(dim=1).mean()


def spread_points(count: int, width: int, steps: int) -> Tensor:
    """Return points [count, width] of length 1 with the least `crowding`.

    Up to width + 1 points are the corners of a regular simplex. More are found by Adam from random
    points, drawn by torch's default generator.

    Args:
        count: C.
        width: D.
        steps: of Adam.
    """
    if count <= width + 1:
        return F.pad(_simplex(count), (0, width - count + 1))
    points = torch.randn(count, width).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=RATE)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            crowding(F.normalize(points)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return F.normalize(points.detach())


def _simplex(count: int) -> Tensor:
    """Return the corners of a regular simplex, of length 1.

    Returns:
        [count, count - 1].
    """
    if count == 1:
        return torch.ones(1, 0)
    k = torch.arange(1, count, dtype=torch.float64)  # columns of a Helmert matrix
    rows = torch.arange(count)[:, None]
    columns = (rows < k).double() - k * (rows == k)
    return F.normalize(columns / (k * (k + 1)).sqrt()).float()


def moved_centroids(centroids: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Return centroids moved towards the mean directions of a batch.

    Args:
        centroids: [C, D], of length 1; those of classes without samples stay.
        features: [B, D], of the global batch.
        labels: [B], int64.
        momentum: weight of the old centroid.

    Returns:
        [C, D], of length 1.
    """
    features = features.to(centroids.dtype)
    means = F.normalize(torch.zeros_like(centroids).index_add(0, labels, features))
    present = F.one_hot(labels, len(centroids)).sum(dim=0) > 0
    moved = F.normalize(momentum * centroids + (1 - momentum) * means)
    return torch.where(present[:, None], moved, centroids)


def assign_targets(centroids: Tensor, targets: Tensor) -> Tensor:
    """Return each class's target, with the largest sum of cosines.

    The assignment is found by the Hungarian method.

    Args:
        centroids: [C, D], of length 1.
        targets: [C, D], of length 1.

    Returns:
        [C] int64.
    """
    from scipy.optimize import linear_sum_assignment

    cosines = (centroids @ targets.T).double().cpu().numpy()
    return torch.from_numpy(linear_sum_assignment(-cosines)[1]).to(centroids.device)
