"""ACSL, adaptive class suppression: a trained classifier tuned against its own mistakes.

Wang, Zhu, Zhao, Zeng, Wang, Tang, "Adaptive Class Suppression Loss for Long-Tail Object Detection",
CVPR 2021 (arXiv:2104.00885), section 3.

    L = -sum_i w_i log p_i, p_i = sigmoid(z_i) of the label, 1 - sigmoid(z_i) else    implemented
    w_i = 1 for the label, else [sigmoid(z_i) >= xi]                                  implemented
    background: a column of its own, rare classes drawn for its boxes                 left out
    classifier of a trained softmax network tuned, all else fixed                     implemented

The last line is the authors' code (`tunefc`): it takes a softmax detector and trains the last layer
alone, with the baseline's sampling and twice its learning rate, for as many epochs as the baseline.
Ours has the stage-2 recipe's epochs and schedule, at twice its rate. Batches are instance-balanced;
statistics of BatchNorm are those of stage 1, as in theirs. Without background and proposals the
method is tuning of a classifier, to be compared with cRT rather than with softmax.
"""

from pydantic import Field

from ltbench.losses import adaptive_class_suppression
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network


class ACSLHParams(HParams):
    """Hyper-parameters of adaptive class suppression."""

    threshold: float = Field(
        0.7, ge=0, le=1, description="probability from which on another class is suppressed (xi)"
    )


class ACSL(Method):
    """Binary cross-entropy of labels and mistakes, on a frozen backbone."""

    title = "ACSL"
    paper = Paper(
        title="Adaptive Class Suppression Loss for Long-Tail Object Detection",
        authors="Tong Wang, Yousong Zhu, Chaoyang Zhao, Wei Zeng, Jinqiao Wang, Ming Tang",
        venue="CVPR",
        year=2021,
        arxiv="2104.00885",
    )
    category = "cost-sensitive"
    stages = (Stage("classifier", recipe_stage="stage2", lr_scale=2.0, passes=0, forward_passes=1),)
    init_from = "softmax"
    required_init_tensors = ("weight",)
    oracle = "acsl"
    HParams = ACSLHParams
    hparams: ACSLHParams
    network: Network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze the backbone."""
        self.freeze(self.network.backbone)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the binary cross-entropy of labels and mistakes."""
        logits = self.network(batch.images)
        return adaptive_class_suppression(logits, batch.labels, self.hparams.threshold)
