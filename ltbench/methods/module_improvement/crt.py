"""cRT, classifier re-training: balanced batches for a classifier on a frozen backbone.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    classifier W, b re-initialized and trained with q = 0 in (1), backbone fixed     implemented

The paper fixes the representation. The authors' code fixes its weights, but keeps it in training
mode: BatchNorm uses the statistics of the balanced batches and updates its running ones. So does
ours by default; `update_bn: false` keeps the statistics of stage 1. Their code cycles through the
classes, four images of a class at a time ("class-aware"), their paper draws classes at random, as
ours does. Any trained variant can be stage 1; `Decouple-CB-CRT` of the survey is on class-balanced
sampling.
"""

from typing import cast

from pydantic import Field
from torch import nn

from ltbench.classifiers import reset_linear
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Stage
from ltbench.methods.papers import DECOUPLING
from ltbench.networks import Network


class DecouplingHParams(HParams):
    """Hyper-parameters of a classifier on a frozen backbone."""

    update_bn: bool = Field(
        True, description="whether BatchNorm uses and updates statistics of the balanced batches"
    )


class CRT(Method):
    """A linear classifier re-trained on a frozen backbone."""

    title = "cRT"
    paper = DECOUPLING
    category = "decoupled"
    version = 2
    stages = (
        Stage(
            "classifier",
            samplers=("class_balanced",),
            recipe_stage="stage2",
            passes=0,
            forward_passes=1,
        ),
    )
    init_from = "softmax"
    HParams = DecouplingHParams
    hparams: DecouplingHParams
    network: Network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze the backbone and re-initialize the classifier."""
        self.freeze(self.network.backbone, update_bn=self.hparams.update_bn)
        reset_linear(cast("nn.Linear", self.network.classifier))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
