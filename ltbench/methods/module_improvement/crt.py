"""cRT, classifier re-training: a new classifier on a frozen backbone, with balanced batches.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    classifier W, b initialised anew and trained with q = 0 in (1), features fixed    implemented

As in the authors' code the backbone is in evaluation mode, so that BatchNorm neither uses nor
updates batch statistics. Their code goes through class lists in turn ("class-aware"), their
paper draws classes at random: ours draws. Any trained variant can be the start; `Decouple-CB-CRT`
of the survey starts from class-balanced sampling.
"""

from typing import cast

from torch import nn

from ltbench.classifiers import reset_linear
from ltbench.losses import cross_entropy
from ltbench.methods.base import Batch, Loss, Method, Stage
from ltbench.methods.papers import DECOUPLING
from ltbench.networks import Network


class CRT(Method):
    """A linear classifier trained anew on fixed features."""

    title = "cRT"
    paper = DECOUPLING
    category = "decoupled"
    stages = (
        Stage("classifier", samplers=("class_balanced",), second=True, passes=0, forward_passes=1),
    )
    start_from = "softmax"
    network: Network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - there is one
        """Freeze the backbone and begin the classifier anew."""
        self.freeze(self.network.backbone)
        reset_linear(cast("nn.Linear", self.network.classifier))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
