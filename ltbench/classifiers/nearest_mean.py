"""Nearest-class-mean classifier."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.core.autocast import at_least_float32, no_autocast
from ltbench.core.checks import check_choice, check_labels, check_shape
from ltbench.losses.counts import as_constant
from ltbench.networks.class_statistics import ClassMeans

FeatureKind = Literal["un", "l2n", "cl2n"]
Distance = Literal["l2", "cos"]


class NearestClassMean(nn.Module):
    """Closeness of features to the class means of the training set.

    Features [B, D] -> closeness [B, C]. Kang et al., ICLR 2020 (arXiv:1910.09217), in the forms of
    their code.

    Args:
        width: D.
        classes: C.
        features: "un" unchanged; "l2n" normalized to length 1; "cl2n" minus the mean of all
            training features, then normalized.
        distance: "l2" for minus the squared Euclidean distance; "cos" for the dot product divided
            by D (class means are not normalized again, so that it is no cosine).
    """

    def __init__(
        self,
        width: int,
        classes: int,
        features: FeatureKind = "cl2n",
        distance: Distance = "l2",
    ) -> None:
        super().__init__()
        check_choice("features", features, FeatureKind)
        check_choice("distance", distance, Distance)
        self.features = features
        self.distance = distance
        self.mean: Tensor
        self.centroids: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("centroids", torch.zeros(classes, width))

    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Compute the class means of the training set, in float64.

        Args:
            features: [N, D].
            labels: [N], int64.

        Raises:
            ValueError: for a class without features.
        """
        check_labels(labels, (len(features), len(self.centroids)), values=True)
        check_shape("features", features, len(features), len(self.mean))
        features = features.double()
        mean = features.mean(dim=0)
        means = ClassMeans(len(self.centroids))
        means.add(self._transform(features, mean), labels)
        self.centroids.copy_(means.means())
        self.mean.copy_(mean)

    def forward(self, features: Tensor) -> Tensor:
        """Return closeness [B, C] of features [B, D], in at least float32."""
        mean, centroids = (as_constant(each, features) for each in (self.mean, self.centroids))
        features = self._transform(at_least_float32(features), mean)
        if self.distance == "cos":
            with no_autocast(features):
                return features @ centroids.T / features.shape[1]
        return -torch.cdist(features, centroids).square()

    def _transform(self, features: Tensor, mean: Tensor) -> Tensor:
        if self.features == "cl2n":
            features = features - mean
        return features if self.features == "un" else F.normalize(features)
