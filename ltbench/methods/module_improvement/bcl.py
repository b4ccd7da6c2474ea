"""BCL, balanced contrastive learning: logit adjustment and a contrast with balanced classes.

Zhu, Wang, Chen, Chen, Jiang, "Balanced Contrastive Learning for Long-Tailed Visual Recognition",
CVPR 2022 (arXiv:2207.09052).

    class averaging in the denominator                                       implemented
    class complement: a prototype of each class in the contrast set          implemented
    prototypes by a perceptron on the classifier's weights                   implemented
    logit adjustment of the first of three views, weights of both losses     implemented
    RandAugment of the first view      left to the recipe

As in the authors' code the classifier is a cosine classifier with scale 30, both perceptrons have
one hidden layer with BatchNorm, and all views are one batch for BatchNorm.

Where ours is not theirs: views are contrasted over all ranks. The authors train for 90 epochs on
ImageNet-LT with a cosine from 0.1, on CIFAR for 200 epochs from 0.15 with decay 5e-4; epochs, rates
and decay are those of the recipe. Distorted views are crops of at least 20 % of an image, theirs of
at least 8 % on ImageNet-LT. Predictions are the classifier's, without prior.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import gather, gather_with_gradient, own_positions
from ltbench.losses import balanced_contrast, logit_adjustment
from ltbench.losses.contrast import similarities
from ltbench.methods.contract import LATER, Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.projection import projection


class BCLHParams(HParams):
    """Hyper-parameters of BCL."""

    alpha: float = Field(1.0, ge=0, description="weight of the cross-entropy")
    beta: float = Field(0.35, ge=0, description="weight of the contrastive loss")
    temperature: float = Field(0.07, gt=0, description="of the similarities")
    tau: float = Field(1.0, ge=0, description="strength of the logit adjustment")
    width: int = Field(1024, ge=1, description="dimension of the projection")
    scale: float = Field(30.0, gt=0, json_schema_extra=LATER, description="factor of the cosines")


class BCLNetwork(Network):
    """A cosine classifier with projections of features and of class weights."""

    def __init__(self, spec: NetworkSpec, width: int, scale: float) -> None:
        backbone, features = build_backbone(spec)
        super().__init__(backbone, CosineClassifier(features, spec.classes, scale))
        self.projection = projection(features, width, spec.norm)
        self.prototypes = projection(features, width, spec.norm)

    def centers(self) -> Tensor:
        """Return the prototypes of the classes [C, D], of length 1."""
        weight = cast("CosineClassifier", self.classifier).weight
        return unit_rows(self.prototypes(weight))


class BCL(Method):
    """A cosine classifier and a projection, trained on three views."""

    title = "BCL"
    paper = Paper(
        title="Balanced Contrastive Learning for Long-Tailed Visual Recognition",
        authors="Jianggang Zhu, Zheng Wang, Jingjing Chen, Yi-Ping Phoebe Chen, Yu-Gang Jiang",
        venue="CVPR",
        year=2022,
        arxiv="2207.09052",
    )
    category = "representation"
    version = 3
    stages = (Stage("train", views=("recipe", "distorted", "distorted"), passes=3),)
    batch_dependence = "gathered"
    oracle = "bcl"
    HParams = BCLHParams
    hparams: BCLHParams
    network: BCLNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network with its projections."""
        return BCLNetwork(spec, self.hparams.width, self.hparams.scale)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy of first views and the contrast of the others."""
        size = len(batch.labels)
        features = self.network.features(batch.images.flatten(0, 1))  # [3 B, F]
        logits = self.network.classifier(features[:size])
        adjusted = logit_adjustment(logits, batch.labels, self.counts, self.hparams.tau)
        views = unit_rows(self.network.projection(features)[size:])  # [2 B, D]
        return {
            "classifier": self.hparams.alpha * adjusted,
            "contrast": self.hparams.beta * self.contrast(views, batch.labels),
        }

    def contrast(self, views: Tensor, labels: Tensor) -> Tensor:
        """Return the balanced contrastive loss.

        Args:
            views: [2 B, D], both views of this rank's images, of length 1.
            labels: [B].
        """
        first, second = map(gather_with_gradient, views.chunk(2))  # [N, D]
        classes, gathered = self.spec.classes, gather(labels)
        samples = torch.cat([first, second, self.network.centers()])
        own = own_positions(labels)
        return balanced_contrast(
            similarities(views, samples, self.hparams.temperature),
            labels.repeat(2),
            torch.cat([gathered, gathered, torch.arange(classes, device=labels.device)]),
            torch.cat([own, len(gathered) + own]),
            classes,
        )
