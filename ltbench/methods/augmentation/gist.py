"""GIST: cosine classifiers with several points a class, displaced alike.

Liu, Li, Kang, Hua, Vasconcelos, "GistNet: a Geometric Structure Transfer Network for Long-Tailed
Recognition", ICCV 2021 (arXiv:2105.00131).

    points w_c and w_c + d_s of a class, displacements d_1, ..., d_S of all classes   implemented
    z_c = max_s tau cos(x, w_c + d_s), tau learned                                    implemented
    L_r on instance-balanced batches, whose gradient moves the displacements          implemented
    L_c on class-balanced batches, a classifier of its own, d_s constant              implemented
    L = L_r + lambda L_c, and predictions by the second classifier                    implemented
    stage 1, the same with S = 0                                                      implemented

As in the authors' code class-balanced batches have four images of a class at a time, both batches
pass through the network as one, and both stages have the same epochs and rates.

Where ours is not theirs: their displacements start at 0 and their tau at a random number, N(0, 1).
The gradient of a maximum goes to the first of equal points, so that displacements of 0 never move;
and with a negative tau the farthest point of a class counts. Our displacements start at random, a
tenth as large as the class weights, and our tau starts at 10. Epochs, batch size and rates are the
recipe's; the authors train 60 epochs a stage on ImageNet-LT, at the rate 0.1, a tenth of it after
each 15, with batches of 128 and 128.
"""

from collections.abc import Mapping
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import ConstellationClassifier
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone

BALANCED, INSTANCE = "class_aware(per_class=4)", "instance"
STREAMS = (BALANCED, INSTANCE)


class GISTHParams(HParams):
    """Hyper-parameters of GIST."""

    displacements: int = Field(4, ge=1, description="displaced points of a class (S)")
    balanced_weight: float = Field(
        0.5, ge=0, description="weight of the loss on class-balanced batches (lambda)"
    )
    spread: float = Field(
        0.1, gt=0, description="size of displacements at their start, relative to class weights"
    )


class GIST(Method):
    """A network with points for each class, displaced alike in all classes."""

    title = "GIST"
    paper = Paper(
        title="GistNet: a Geometric Structure Transfer Network for Long-Tailed Recognition",
        authors="Bo Liu, Haoxiang Li, Hao Kang, Gang Hua, Nuno Vasconcelos",
        venue="ICCV",
        year=2021,
        arxiv="2105.00131",
    )
    category = "transfer"
    stages = (Stage("plain", samplers=STREAMS), Stage("structure", samplers=STREAMS))
    oracle = "gist"
    HParams = GISTHParams
    hparams: GISTHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with both classifiers."""
        backbone, width = build_backbone(spec)
        classifier = ConstellationClassifier(width, spec.classes, self.hparams.displacements)
        return Network(backbone, classifier)

    @property
    def classifier(self) -> ConstellationClassifier:
        """Both classifiers."""
        return cast("ConstellationClassifier", self.network.classifier)

    def on_stage_start(self, stage: Stage) -> None:
        """Fix the displacements at 0, or start them at random."""
        displaced = stage.name == "structure"
        self.classifier.displacements.requires_grad_(displaced)
        if displaced:
            self.classifier.spread(self.hparams.spread)

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        """Return the cross-entropies on both batches."""
        balanced, instance = batch[BALANCED], batch[INSTANCE]
        features = self.network.features(torch.cat([balanced.images, instance.images]))
        count = len(balanced)
        return self.losses(features[:count], features[count:], balanced.labels, instance.labels)

    def losses(
        self, balanced: Tensor, instance: Tensor, balanced_labels: Tensor, instance_labels: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of features [B, D] of both batches."""
        of_balanced = cross_entropy(self.classifier(balanced), balanced_labels)
        return {
            "instance": cross_entropy(self.classifier.instance(instance), instance_labels),
            "balanced": self.hparams.balanced_weight * of_balanced,
        }
