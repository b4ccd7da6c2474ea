"""Clusters of equal size within classes, and quintuplets mined from them.

Huang, Li, Loy, Tang, "Learning Deep Representation for Imbalanced Classification", CVPR 2016.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ltbench.core.checks import check_value

ROUNDS = 20
"""Most re-assignments of a bisection."""
ROWS = 1024
"""Anchors mined at a time."""


def equal_clusters(features: Tensor, clusters: int) -> Tensor:
    """Return clusters of rows, of sizes that differ by one at most.

    Rows are halved again and again by 2-means with given sizes, whose assignment is exact: the rows
    in the order of the difference of their squared distances to both means. Deterministic.

    Args:
        features: [N, D].
        clusters: K, at most N.

    Returns:
        [N] int64, from 0 to K - 1.

    Raises:
        ValueError: for more clusters than rows.
    """
    holds = 1 <= clusters <= len(features)
    check_value("clusters", clusters, f"1 to {len(features)}", holds=holds)
    features = features.double()
    found = torch.zeros(len(features), dtype=torch.int64, device=features.device)
    parts = [(torch.arange(len(features), device=features.device), 0, clusters)]
    while parts:
        rows, first, count = parts.pop()
        if count == 1:
            found[rows] = first
            continue
        left = count // 2
        # Each half has floor(n / K) or ceil(n / K) images for each of its clusters.
        small, extra = divmod(len(rows), count)
        size = small * left + min(extra, left)
        near, far = _bisected(features[rows], size)
        parts += [(rows[near], first, left), (rows[far], first + left, count - left)]
    return found


def _bisected(rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return positions of rows that lie together, and of the others.

    Args:
        rows: [N, D].
        size: number of rows that lie together.

    Returns:
        [size] and [N - size] int64, ascending.
    """
    center = rows.mean(dim=0)
    one = rows[(rows - center).square().sum(dim=1).argmax()]
    two = rows[(rows - one).square().sum(dim=1).argmax()]
    order = _order(rows, one, two)
    for _ in range(ROUNDS):
        before = order[:size].sort().values
        order = _order(rows, rows[order[:size]].mean(dim=0), rows[order[size:]].mean(dim=0))
        if order[:size].sort().values.equal(before):
            break
    return order[:size].sort().values, order[size:].sort().values


def _order(rows: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Return rows in order, from near `one` to near `two`.

    They are sorted by |x - one|^2 - |x - two|^2.
    """
    return (rows @ (two - one)).argsort(stable=True)


def half_of_each(groups: Tensor, uniform: Tensor) -> Tensor:
    """Return a random half of the members of each group, rounded up.

    Args:
        groups: [N] int64, from 0.
        uniform: [N] random numbers; the members with the smallest are taken.

    Returns:
        [M] int64 positions, ascending.
    """
    sizes = torch.bincount(groups)
    order = uniform.argsort(stable=True)
    order = order[groups[order].argsort(stable=True)]  # by group, smallest first
    owner = groups[order]
    place = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[owner]
    return order[2 * place < sizes[owner]].sort().values


def mine_quintuplets(
    features: Tensor,
    labels: Tensor,
    clusters: Tensor,
    candidates: Tensor,
    beat: Callable[[], object] = lambda: None,
) -> Tensor:
    """Return the images that each image is compared with.

    Args:
        features: [N, D], of length 1.
        labels: [N], int64.
        clusters: [N] int64, each within a class.
        candidates: [M] int64, the rows that are taken from.
        beat: called after every thousand rows.

    Returns:
        [N, 4] int64 rows, -1 where there is none: the farthest of the same cluster, the nearest of
        the same class in another cluster, the farthest of the same class, and the nearest of
        another class. Never the row itself.
    """
    features = features.double()
    parts = []
    for rows in torch.split(torch.arange(len(labels)), ROWS):
        closeness = features[rows] @ features[candidates].T  # [R, M]
        others = rows[:, None] != candidates
        same = labels[rows, None] == labels[candidates]
        together = clusters[rows, None] == clusters[candidates]
        columns = [
            _least(closeness, together & others, candidates),
            _least(-closeness, same & ~together, candidates),
            _least(closeness, same & others, candidates),
            _least(-closeness, ~same, candidates),
        ]
        parts.append(torch.stack(columns, dim=1))
        beat()
    return torch.cat(parts)


def _least(values: Tensor, allowed: Tensor, candidates: Tensor) -> Tensor:
    """Return each row's candidate of the least allowed value, else -1."""
    least = values.masked_fill(~allowed, torch.inf).argmin(dim=1)
    return torch.where(allowed.any(dim=1), candidates[least], -1)
