"""Classifier by the margin between the nearest centroids of classes."""

import torch
from torch import Tensor, nn

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_shape, check_value
from ltbench.losses.counts import as_constant

MOST = 4.0
"""Largest squared distance of points in the unit ball."""


class NearestCentroids(nn.Module):
    """Margins of classes among the nearest centroids.

    Features [B, D] of length 1 -> scores [B, C]. Huang et al., CVPR 2016: of the k nearest
    centroids, the nearest of other classes minus the farthest of the class, in squared distances.
    If all are of one class, it gets 4, the largest distance, for the nearest of others. A class
    with none of them gets -4 minus the distance of its nearest centroid, below all others.

    Args:
        width: D.
        clusters: [C] int64, centroids of each class, at least one.
        nearest: k; all centroids if there are fewer.

    Attributes:
        centroids: [sum of clusters, D], class by class, in the unit ball.
    """

    def __init__(self, width: int, clusters: Tensor, nearest: int = 20) -> None:
        super().__init__()
        holds = int(clusters.min()) >= 1
        check_value("clusters", clusters.tolist(), "at least 1", holds=holds)
        check_value("nearest", nearest, "at least 1", holds=nearest >= 1)
        total = int(clusters.sum())
        self.classes = len(clusters)
        self.nearest = min(nearest, total)
        self.centroids: Tensor
        self.owner: Tensor
        self.register_buffer("centroids", torch.zeros(total, width))
        owner = torch.arange(self.classes).repeat_interleave(clusters)
        self.register_buffer("owner", owner, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return scores [B, C] of features [B, D], in at least float32."""
        check_shape("features", features, "B", self.centroids.shape[1])
        features = at_least_float32(features)
        centroids = as_constant(self.centroids, features)
        squares = (features[:, None] - centroids).square().sum(dim=2)  # [B, K]
        values, order = squares.topk(self.nearest, dim=1, largest=False)
        labels = self.owner[order]  # [B, k]
        shape = len(features), self.classes
        farthest = values.new_full(shape, -1).scatter_reduce(1, labels, values, "amax")
        own = self.owner.expand(len(features), -1)
        closest = values.new_full(shape, MOST).scatter_reduce(1, own, squares, "amin")
        first = labels[:, :1] == torch.arange(self.classes, device=labels.device)  # [B, C]
        foreign = torch.where(labels == labels[:, :1], MOST, values).amin(dim=1, keepdim=True)
        others = torch.where(first, foreign, values[:, :1])
        return torch.where(farthest >= 0, others - farthest, -MOST - closest)
