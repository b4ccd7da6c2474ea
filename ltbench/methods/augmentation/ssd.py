"""SSD, self-supervision to distillation: a balanced teacher for a new network.

Li, Wang, Wu, "Self Supervision to Distillation for Long-Tailed Visual Recognition", ICCV 2021
(arXiv:2109.04075).

    I: cross-entropy + InfoNCE, negatives of other classes alone                      implemented
    II: scales of the classes on the fixed network, class-aware batches with two
        images of a class at a time                                                   implemented
    III: a new network, CE(z, y) + T^2 KL(softmax(z_II / T) || softmax(z_soft / T))   implemented
    the new network's classifier fine-tuned, by class scales as in II                 implemented

z and z_soft are two linear classifiers on the new network's features. Predictions are those of z,
which favors large classes until these are scaled: on ImageNet-LT the authors' README has 51.6
before (and 55.4 for z_soft), later tables cite 56 from the paper.

InfoNCE is that of MoCo: the positive is the momentum encoder's key of the query's image, negatives
are the queue's keys without those of the query's class. As in the authors' code the key's view is
strongly distorted, the query's is not; T is 0.2 for the contrast and 2 for the distillation, and a
scale multiplies the whole logit. The projection has 128 outputs. The queue has as many keys as
there are training images: theirs has 115,712 on ImageNet-LT, of 115,846 images.

Where ours is not theirs: keys are normalized by the statistics of a rank's batch, without MoCo's
shuffle. While scales are trained BatchNorm keeps its statistics, and epochs and rate are those of
the recipe's second stage; theirs are 5 epochs from 0.2, after 135 from 0.1.
"""

import copy
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import LearnableScale, linear
from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import gather
from ltbench.losses import cross_entropy, distillation, info_nce
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.momentum import LabeledQueue, MomentumCopy
from ltbench.networks.projection import projection


def scales_stage(name: str) -> Stage:
    """Return a stage that scales the classes of a fixed network."""
    return Stage(
        name,
        samplers=("class_aware(per_class=2)",),
        recipe_stage="stage2",
        passes=0,
        forward_passes=1,
    )


class SSDHParams(HParams):
    """Hyper-parameters of SSD."""

    contrast_temperature: float = Field(0.2, gt=0, description="of the contrast")
    contrast_weight: float = Field(1.0, ge=0, description="weight of the contrast")
    queue: int | None = Field(
        None, ge=1, description="number of keys in the queue; none for that of training images"
    )
    width: int = Field(128, ge=1, description="dimension of the projection")
    momentum: float = Field(0.999, ge=0, lt=1, description="of the momentum encoder")
    temperature: float = Field(2.0, gt=0, description="of teacher and second head (T)")
    distillation_weight: float = Field(1.0, ge=0, description="weight of the distillation")


class SSDNetwork(Network):
    """A network with class scales, a projection and a second head."""

    def __init__(self, spec: NetworkSpec, outputs: int) -> None:
        backbone, width = build_backbone(spec)
        super().__init__(backbone, LearnableScale(width, spec.classes))
        nn.init.zeros_(cast("LearnableScale", self.classifier).bias)
        self.projection = projection(width, outputs, "none")
        self.second = linear(width, spec.classes)


class SSD(Method):
    """Contrast, class scales, and a new network taught by both and scaled."""

    title = "SSD"
    paper = Paper(
        title="Self Supervision to Distillation for Long-Tailed Visual Recognition",
        authors="Tianhao Li, Limin Wang, Gangshan Wu",
        venue="ICCV",
        year=2021,
        arxiv="2109.04075",
    )
    category = "transfer"
    version = 3
    stages = (
        Stage("contrast", views=("recipe", "distorted"), forward_passes=1),
        scales_stage("scales"),
        Stage("student", forward_passes=1),
        scales_stage("finetuning"),
    )
    batch_dependence = "gathered"
    oracle = "ssd_dive"
    HParams = SSDHParams
    hparams: SSDHParams
    network: SSDNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network; register momentum encoder, queue and teacher."""
        hparams = self.hparams
        network = SSDNetwork(spec, hparams.width)
        self.slow = MomentumCopy(network.backbone, network.projection)
        size = int(self.counts.sum()) if hparams.queue is None else hparams.queue
        self.queue = LabeledQueue(size, hparams.width, spec.classes)
        self.teacher = Network(
            copy.deepcopy(network.backbone), copy.deepcopy(network.classifier)
        ).requires_grad_(requires_grad=False)
        return network

    @property
    def is_scaled(self) -> bool:
        """Whether the stage trains the scales of the classes."""
        return self.stage.name in ("scales", "finetuning")

    def on_stage_start(self, stage: Stage) -> None:
        """Freeze what the stage does not train.

        The student begins as a new network.
        """
        network = self.network
        if stage.name == "student":
            state = network.state_dict()
            self.teacher.load_state_dict({name: state[name] for name in self.teacher.state_dict()})
            network.load_state_dict(SSDNetwork(self.spec, self.hparams.width).state_dict())
        network.requires_grad_()
        scale = network.classifier.get_parameter("scale")
        if stage.name == "contrast":
            self.slow.follow(network.backbone, network.projection, momentum=0.0)
            self.freeze(network.second)
        elif self.is_scaled:
            self.freeze(network)
        else:
            self.freeze(network.projection)
        scale.requires_grad_(self.is_scaled)
        self.freeze(self.teacher)
        self.freeze(self.slow, update_bn=stage.name == "contrast")

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of the stage."""
        if self.stage.name == "contrast":
            return self.contrast(batch)
        if self.is_scaled:
            return cross_entropy(self.network(batch.images), batch.labels)
        hparams = self.hparams
        features = self.network.features(batch.images)
        with torch.no_grad():
            taught = self.teacher(batch.images)
        divergence = distillation(self.network.second(features), taught, hparams.temperature)
        scale = hparams.distillation_weight * hparams.temperature**2
        return {
            "labels": cross_entropy(self.network.classifier(features), batch.labels),
            "distillation": scale * divergence,
        }

    def contrast(self, batch: Batch) -> Loss:
        """Return the losses of labels and views; update encoder and queue."""
        hparams, network = self.hparams, self.network
        first, second = batch.images
        features = network.features(first)
        queries = unit_rows(network.projection(features))
        self.slow.follow(network.backbone, network.projection, momentum=hparams.momentum)
        keys = self.slow(second)
        losses = {
            "labels": cross_entropy(network.classifier(features), batch.labels),
            "contrast": hparams.contrast_weight * self.key_contrast(queries, keys, batch.labels),
        }
        self.queue.push(keys=gather(keys), labels=gather(batch.labels))
        return losses

    def key_contrast(self, queries: Tensor, keys: Tensor, labels: Tensor) -> Tensor:
        """Return InfoNCE, with the queue's keys of other classes.

        Args:
            queries: [B, D], of length 1.
            keys: [B, D], of the same images.
            labels: [B].
        """
        others = labels[:, None] != self.queue.labels  # [B, K]
        negatives = self.queue.snapshot(queries.dtype)
        temperature = self.hparams.contrast_temperature
        return info_nce(queries, keys.to(queries.dtype), negatives, temperature, others)
