"""OLTR's classifier: features combined with a memory of class centroids.

Liu, Miao, Zhan, Wang, Gong, Yu, "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019
(arXiv:1904.05160).
"""

import torch
from torch import Tensor, nn

from ltbench.classifiers.cosine import CosineClassifier

REACH = 10.0
"""Reachability of a feature at distance 1 from its nearest centroid (1/gamma of the paper)."""


class MetaEmbedding(nn.Module):
    """Squashed cosines of meta-embeddings: reach * (f + selector * memory).

    Features [B, D] -> logits [B, C]. The memory is a mixture of centroids with weights from the
    feature, the selector a gate per channel, the reach inverse to the distance of the nearest
    centroid. Centroids are constant here, and trained by `losses.disc_centroids`. A distance of
    zero, where the authors' code divides by zero, counts as 1e-6.

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
