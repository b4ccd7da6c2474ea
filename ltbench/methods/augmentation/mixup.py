"""mixup: convex combinations of pairs of images and of their labels.

Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018
(arXiv:1710.09412).

    x~ = lambda x_i + (1 - lambda) x_j                                     implemented
    y~ = lambda y_i + (1 - lambda) y_j, lambda from Beta(alpha, alpha)      implemented

As in the authors' code a batch has one lambda, partners are a permutation of the batch, and the two
labels' losses are mixed, which for cross-entropy is the loss of the mixed label. The permutation is
of the global batch: partners may be on other ranks.

Other losses (`loss`) are not in the paper. They are mixed as cross-entropy is; with deferred class
weights each of the two means divides by the sum of its weights.
"""

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from ltbench.augment import MixedBatch, mixup
from ltbench.classifiers import classifier_for
from ltbench.losses import BaseLoss, base_loss
from ltbench.methods.contract import LATER, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone


class MixupHParams(HParams):
    """Hyper-parameters of mixup."""

    alpha: float = Field(
        0.2, gt=0, description="of Beta(alpha, alpha); a larger one mixes more evenly"
    )
    loss: BaseLoss = Field(
        "softmax",
        description="loss that is mixed; drw and ldam weigh classes from the deferred epoch on",
        json_schema_extra=LATER,
    )


class Mixup(Method):
    """Cross-entropy on mixed images."""

    title = "mixup"
    paper = Paper(
        title="mixup: Beyond Empirical Risk Minimization",
        authors="Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz",
        venue="ICLR",
        year=2018,
        arxiv="1710.09412",
    )
    category = "augmentation"
    batch_dependence = "gathered"
    oracle = "mix_family"
    HParams: ClassVar[type[MixupHParams]] = MixupHParams
    hparams: MixupHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with the classifier of the loss."""
        backbone, width = build_backbone(spec)
        return Network(backbone, classifier_for(self.hparams.loss, width, spec.classes))

    def mixed(self, batch: Any) -> MixedBatch:
        """Return a batch's mixed images."""
        return mixup(batch, self.hparams.alpha, self.rng)

    def training_loss(self, batch: Any) -> Loss:
        """Return the mixed loss of mixed images."""
        mixed, name, deferred = self.mixed(batch), self.hparams.loss, self.progress.deferred
        logits = self.network(mixed.images)
        return mixed.loss(
            lambda labels: base_loss(name, logits, labels, self.counts, deferred=deferred)
        )
