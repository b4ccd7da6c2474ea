"""Unequal training: a noise-resistant loss, and dispersed centers of tail classes.

The noise-resistant loss is that of all images, the dispersion that of the tail's.

Zhong, Deng, Wang, Hu, Peng, Tao, Huang, "Unequal-Training for Deep Face Recognition With
Long-Tailed Noisy Data", CVPR 2019.

    ArcFace: s cos(theta_y + m), s cos(theta_j)                                  implemented
    L_NR = -(beta log p_y + (1 - beta) log p_k), k the predicted class           implemented
    L_CD = 1/K^2 |M M^T - I|^2, M the centers of K tail classes                  implemented
    ArcFace first, then L_NR with L_CD, whose weight grows                       implemented
    tail classes of the closest centers                          left out: see below
    removal of noisy images by hand                              left out

Where ours is not theirs: theirs is of faces of unknown persons. Its head loss knows head classes
alone, and its tail classes have no logits. Here all classes are predicted, so that both losses are
of all classes; the tail batch adds L_NR of its images. The few-shot classes are the tail; with
equal counts there is none, and L_NR is alone; a single tail class has no L_CD. As theirs, a tail
batch is as large as the other and has three images of a class at a time. If the tail has few
classes, each comes several times and its center is the mean of more than three images; the batch
then has most tail classes, so that the closest ones are not searched for.

Stages have 60 % and 40 % of the epochs, the second a tenth of the rate. The authors divide L_NR
by twice the batch and by the number of devices; ours is a mean. They raise the weight of L_CD from
1 to 5 by hand, ours grows with the epochs. Their second stage begins with a new classifier, which
would forget the tail classes here: `reset_classifier` has it. Their s is 64.

Predictions are scaled cosines, without margins.
"""

from collections.abc import Mapping
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.losses import arcface_logits, center_dispersion, cross_entropy, noise_resistant
from ltbench.losses.counts import tail
from ltbench.methods.contract import (
    Batch,
    EpochDraw,
    HParams,
    Loss,
    Method,
    Paper,
    Stage,
    StepInput,
)
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.samplers import class_aware

PER_CLASS = 3
"""Images of a tail class at a time."""


class UnequalTrainingHParams(HParams):
    """Hyper-parameters of unequal training."""

    scale: float = Field(30.0, gt=0, description="factor of the cosines (s)")
    margin: float = Field(0.5, ge=0, le=1.5, description="of the label's angle (m)")
    beta: float = Field(0.9, ge=0, le=1, description="share of labels, not of predicted classes")
    first_dispersion: float = Field(
        1.0, ge=0, description="weight of the centers' loss in the first epoch with tail batches"
    )
    last_dispersion: float = Field(5.0, ge=0, description="its weight in the last epoch")
    reset_classifier: bool = Field(
        False, description="whether the second stage begins with a new classifier"
    )


class UnequalTraining(Method):
    """ArcFace, then noise resistance with dispersed centers of tail classes."""

    title = "Unequal training"
    paper = Paper(
        title="Unequal-Training for Deep Face Recognition With Long-Tailed Noisy Data",
        authors="Yaoyao Zhong, Weihong Deng, Mei Wang, Jiani Hu, Jianteng Peng, Xunqiang Tao, "
        "Yaohai Huang",
        venue="CVPR",
        year=2019,
    )
    category = "representation"
    version = 2
    stages = (
        Stage("head", epochs_scale=0.6),
        Stage("joint", epochs_scale=0.4, lr_scale=0.1, passes=2),
    )
    batch_dependence = "gathered"
    oracle = "unequal_training"
    metric_terms = ("centers",)
    HParams = UnequalTrainingHParams
    hparams: UnequalTrainingHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a cosine classifier."""
        backbone, width = build_backbone(spec)
        self.has_centers = int(tail(self.counts).sum()) > 1
        return Network(backbone, CosineClassifier(width, spec.classes, self.hparams.scale))

    def on_stage_start(self, stage: Stage) -> None:
        """Begin the second stage with a new classifier, if asked for."""
        if stage.name == "joint" and self.hparams.reset_classifier:
            used = cast("CosineClassifier", self.network.classifier)
            classes, width = used.weight.shape
            new = CosineClassifier(width, classes)
            used.load_state_dict(new.state_dict())

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return batches of all images, later of the tail too."""
        streams = {"instance": draw.sampler("instance")}
        few = tail(self.counts.cpu())
        if self.stage.name == "joint" and few.any():
            streams["tail"] = self.tail_batches(draw, few)
        return streams

    @staticmethod
    def tail_batches(draw: EpochDraw, few: Tensor) -> Tensor:
        """Return images [steps, B] of tail classes.

        Args:
            draw: of the epoch.
            few: [C] bool, the tail, on the CPU.
        """
        whole = -(-draw.batch // PER_CLASS) * PER_CLASS
        images = few[draw.labels].nonzero().flatten()
        drawn = class_aware(
            draw.labels[images], draw.steps * whole, draw.generator("tail"), PER_CLASS
        )
        return images[drawn].view(draw.steps, whole)[:, : draw.batch]

    @property
    def dispersion(self) -> float:
        """Weight of the centers' loss in this epoch."""
        hparams, progress = self.hparams, self.progress
        done = progress.epoch / max(progress.epochs - 1, 1)
        return hparams.first_dispersion + done * (
            hparams.last_dispersion - hparams.first_dispersion
        )

    def training_loss(self, batch: StepInput) -> Loss:
        """Return ArcFace's loss, or those of all images and of the tail.

        A single tail class has no other center to be dispersed from.
        """
        if isinstance(batch, Batch):
            logits = self.margin_logits(self.network.features(batch.images), batch.labels)
            if self.stage.name == "head":
                return cross_entropy(logits, batch.labels)
            return noise_resistant(logits, batch.labels, self.hparams.beta)
        everything, few, beta = batch["instance"], batch["tail"], self.hparams.beta
        features = self.network.features(torch.cat([everything.images, few.images]))
        logits = self.margin_logits(features, torch.cat([everything.labels, few.labels]))
        count = len(everything)
        losses = {
            "classes": noise_resistant(logits[:count], everything.labels, beta),
            "tail": noise_resistant(logits[count:], few.labels, beta),
        }
        if self.has_centers:
            centers = center_dispersion(features[count:], few.labels)
            losses["centers"] = self.dispersion * centers
        return losses

    def margin_logits(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return ArcFace's logits [B, classes] of features [B, D]."""
        hparams = self.hparams
        cosines = cast("CosineClassifier", self.network.classifier).cosines(features)
        return arcface_logits(cosines, labels, hparams.scale, hparams.margin)
