"""NCM: nearest class mean on a trained network's features.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    class means of training features; the nearest by Euclidean distance or cosine    implemented

The paper leaves the form of the features open. The authors' code has three (as they are,
normalized, centered then normalized) and uses the last with the Euclidean distance; so does ours.
Its "cosine" is a dot product with class means that are not normalized again.

The centered form needs the mean of all features before any class mean, so that the features of the
training set are held in memory (N x D floats) until `finalize_statistics`.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import NearestClassMean
from ltbench.classifiers.nearest_mean import Distance, FeatureKind
from ltbench.methods.contract import Batch, HParams, Method, Stage
from ltbench.methods.papers import DECOUPLING
from ltbench.networks import Network, NetworkSpec, build_backbone


class NCMHParams(HParams):
    """Hyper-parameters of NCM."""

    features: FeatureKind = Field(
        "cl2n", description="unchanged, normalized, or centered and then normalized"
    )
    distance: Distance = Field("l2", description="Euclidean distance or dot product")


class NCM(Method):
    """Class means as the classifier of a trained network."""

    title = "NCM"
    paper = DECOUPLING
    category = "decoupled"
    version = 2
    stages = (Stage("means", is_trained=False, needs_statistics_pass=True, recipe_stage="stage2"),)
    init_from = "softmax"
    oracle = "ncm"
    HParams = NCMHParams
    hparams: NCMHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a nearest-class-mean classifier."""
        backbone, width = build_backbone(spec)
        means = NearestClassMean(width, spec.classes, self.hparams.features, self.hparams.distance)
        return Network(backbone, means)

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Start with no features."""
        self.collected: list[tuple[Tensor, Tensor]] = []

    def update_statistics(self, batch: Batch) -> None:
        """Collect features and labels on the CPU."""
        self.collected.append((self.network.features(batch.images).cpu(), batch.labels.cpu()))

    def finalize_statistics(self) -> None:
        """Compute the class means."""
        features, labels = (torch.cat(part) for part in zip(*self.collected, strict=True))
        cast("NearestClassMean", self.network.classifier).fit(features, labels)
        self.collected = []
