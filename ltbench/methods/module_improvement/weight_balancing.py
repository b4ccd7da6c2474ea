"""Weight balancing: a large weight decay, then a classifier with bounded weights.

Alshammari, Wang, Ramanan, Kong, "Long-Tailed Recognition via Weight Balancing", CVPR 2022
(arXiv:2203.14197).

    stage 1: cross-entropy with a tuned weight decay of all parameters         implemented
    stage 2: the classifier alone, instance-balanced, weight decay 0.1         implemented
    class-balanced loss, beta = 0.9999                                         implemented
    MaxNorm: w_c min(1, r / ||w_c||), biases without a bound                   implemented
    r = min ||w|| + delta (max ||w|| - min ||w||) of the weights of stage 1    implemented
    w_c / ||w_c||^tau of stage 1, without training                             left out: `tau_norm`

As in the authors' code the class-balanced loss is the binary cross-entropy of softmax
probabilities, divided by C, so that the weight decay is strong beside it; its gradient is torch's,
which is nearly zero for an image whose label has a probability below 1e-12. The class weights are
bounded after each epoch by default, not after each step (`project`). The classifier goes on from
stage 1. In stage 2 BatchNorm uses and updates batch statistics (`shift_bn`). The two weight decays
are values: not relative to that of the recipe.

Where ours is not theirs: epochs and schedules are those of the recipe, while they train for 320
epochs. The rate of both stages is a tenth of the recipe's (`lr`, `classifier_lr`): 0.01, as
theirs, where that is 0.1. Their weight decays are for that rate: at ten times the rate that of
stage 1 costs the smallest classes all their accuracy, and that of stage 2, too, probably because
the classifier then is a mean over its last few steps. Their schedule is a step ahead, so that the
rate of the last epoch is 0; they have a ResNet-34, test images with their mirror images, and take
the best epoch of the test.
"""

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import bounded, norm_bound
from ltbench.losses import cross_entropy, effective_number_weights, softmax_binary
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec


class WeightBalancingHParams(HParams):
    """Hyper-parameters of weight balancing."""

    weight_decay: float = Field(5e-3, ge=0, description="of all parameters in stage 1, its value")
    lr: float = Field(0.1, gt=0, description="learning rate of stage 1, relative to the recipe's")
    classifier_decay: float = Field(
        0.1, ge=0, description="weight decay of the classifier in stage 2, its value"
    )
    classifier_lr: float = Field(
        0.1, gt=0, description="learning rate of stage 2, relative to the recipe's"
    )
    beta: float = Field(0.9999, ge=0, lt=1, description="of the class-balanced loss; 0: no weights")
    share: float = Field(
        0.1, ge=0, description="place of the bound between the least and largest norm (delta)"
    )
    project: Literal["epoch", "step"] = Field("epoch", description="what the bound holds after")
    shift_bn: bool = Field(
        True, description="whether BatchNorm uses and updates batch statistics in stage 2"
    )


class WeightBalancing(Method):
    """Cross-entropy with weight decay, then a classifier with bounded class weights."""

    title = "Weight balancing"
    paper = Paper(
        title="Long-Tailed Recognition via Weight Balancing",
        authors="Shaden Alshammari, Yu-Xiong Wang, Deva Ramanan, Shu Kong",
        venue="CVPR",
        year=2022,
        arxiv="2203.14197",
    )
    category = "decoupled"
    version = 2
    stages = (
        Stage("features"),
        Stage("classifier", recipe_stage="stage2", passes=0, forward_passes=1),
    )
    oracle = "weight_balancing"
    HParams = WeightBalancingHParams
    hparams: WeightBalancingHParams
    network: Network
    bound: Tensor

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; register the bound."""
        self.register_buffer("bound", torch.zeros(()))
        return super().build_network(spec)

    def on_stage_start(self, stage: Stage) -> None:
        """Freeze the backbone and take the bound from the trained weights."""
        if stage.name == "classifier":
            self.freeze(self.network.backbone, update_bn=self.hparams.shift_bn)
            self.bound.copy_(norm_bound(self.class_weights.detach(), self.hparams.share))

    @property
    def class_weights(self) -> Tensor:
        """Weights of the classifier, [C, D]."""
        return cast("nn.Linear", self.network.classifier).weight

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002
        """Return the learning rate of the stage, relative to the recipe's."""
        hparams = self.hparams
        return hparams.lr if self.stage.name == "features" else hparams.classifier_lr

    def weight_decay(self, parameter: str, recipe: float) -> float:  # noqa: ARG002
        """Return the weight decay of the stage."""
        hparams = self.hparams
        return hparams.weight_decay if self.stage.name == "features" else hparams.classifier_decay

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy, or the class-balanced loss."""
        logits = self.network(batch.images)
        if self.stage.name == "features":
            return cross_entropy(logits, batch.labels)
        weights = effective_number_weights(self.counts, self.hparams.beta)
        return softmax_binary(logits, batch.labels, weights)

    def on_step_end(self) -> None:
        """Bound the class weights, if steps do."""
        self.project_after("step")

    def on_epoch_end(self) -> None:
        """Bound the class weights, if epochs do."""
        self.project_after("epoch")

    def project_after(self, period: Literal["epoch", "step"]) -> None:
        """Bound the class weights after an epoch or step of stage 2.

        Nothing is done unless `project` names this period.
        """
        if self.stage.name == "classifier" and self.hparams.project == period:
            self.class_weights.copy_(bounded(self.class_weights, self.bound))
