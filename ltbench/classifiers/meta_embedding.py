"""The classifier of OLTR: features enriched by a memory of class centroids.

Liu, Miao, Zhan, Wang, Gong, Yu, "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019
(arXiv:1904.05160).
"""

import torch
from torch import Tensor, nn

from ltbench.classifiers.cosine import CosineClassifier

REACH = 10.0
"""Reachability of a feature at distance 1 from its nearest centroid."""


class MetaEmbedding(nn.Module):
    """Features [B, D] -> logits [B, C], squashed cosines of reach * (f + selector * memory).

    The memory is a mixture of the centroids, chosen by the feature; the selector takes of it what
    helps; the reach is smaller the farther the nearest centroid is. Centroids are trained by
    another loss (`losses.disc_centroids`) and constants here. A feature on a centroid has the
    reach of one that is next to it, where the authors' code divides by zero.

    Args:
        width: D.
        classes: C.
        scale: factor of the cosines.
    """

    def __init__(self, width: int, classes: int, scale: float = 16.0) -> None:
        super().__init__()
        self.hallucinator = nn.Linear(width, classes)
        self.selector = nn.Linear(width, width)
        self.cosine = CosineClassifier(width, classes, scale, squash=True)
        self.centroids = nn.Parameter(torch.zeros(classes, width))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of features [B, D]."""
        centroids = self.centroids.detach().to(features.dtype)
        differences = features[:, None] - centroids  # [B, C, D]
        nearest = torch.linalg.vector_norm(differences, dim=2).amin(dim=1, keepdim=True)  # [B, 1]
        reach = REACH / nearest.clamp_min(1e-6)
        memory = self.hallucinator(features).softmax(dim=1) @ centroids
        infused = self.selector(features).tanh() * memory
        logits: Tensor = self.cosine(reach * (features + infused))
        return logits
