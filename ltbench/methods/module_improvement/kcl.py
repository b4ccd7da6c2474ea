"""KCL: contrastive learning with k positives, then a balanced linear classifier.

Kang, Li, Xie, Yuan, Feng, "Exploring Balanced Feature Spaces for Representation Learning", ICLR
2021.

    contrast of an image with its own key and k random keys of its class    implemented
    momentum encoder and queue of keys with labels (MoCo)                   implemented
    linear classifier on frozen features, class-balanced                    implemented
    k = all positives (FCL) with a large `positives`                        implemented

Keys of the class that are not drawn are negatives, as in the authors' default, or have similarity 0
(`unused: zero`, their version 2). Keys are normalized in random groups, as MoCo's.

Where ours is not theirs: positives are drawn at random, as in the paper; the code takes the first.
The queue begins with random keys without class, which are negatives; the authors fill it before
training. Both views are distorted on small images; the authors' command for ImageNet-LT has the
recipe's transform for both. Distorted views of 8x8 digits are too strong: there `views: recipe` is
better. They train for 200 epochs with a cosine from 0.1 and decay 5e-4, and the classifier for 100
from a rate of 30 without decay; ours has the recipe's second stage, as features of other networks
have other lengths. Their command draws images for the classifier uniformly.
"""

from typing import ClassVar, Literal, cast

from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear, reset_linear
from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import gather, own_rows
from ltbench.losses import cross_entropy, draw_positives, k_positive
from ltbench.losses.k_positive import Unused
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.momentum import LabeledQueue, MomentumCopy
from ltbench.networks.projection import projection

NO_CLASS = -1
"""Label of the queue's initial keys."""


class KCLHParams(HParams):
    """Hyper-parameters of KCL."""

    positives: int = Field(6, ge=1, description="positives drawn from the queue (k)")
    unused: Unused = Field("negative", description="what positives that were not drawn are")
    temperature: float = Field(0.07, gt=0, description="of the similarities")
    queue: int = Field(65536, ge=1, description="number of keys in the queue")
    width: int = Field(128, ge=1, description="dimension of the projection")
    head: Literal["linear", "mlp"] = Field("linear", description="kind of projection")
    momentum: float = Field(0.999, ge=0, lt=1, description="of the momentum encoder")
    norm_groups: int = Field(
        8, ge=1, description="parts of a batch of keys that BatchNorm normalizes separately"
    )
    views: Literal["distorted", "recipe"] = Field("distorted", description="kind of both views")


class KCLNetwork(Network):
    """A network with a projection, a momentum encoder and a queue."""

    def __init__(self, spec: NetworkSpec, hparams: KCLHParams) -> None:
        backbone, features = build_backbone(spec)
        super().__init__(backbone, linear(features, spec.classes))
        is_linear = hparams.head == "linear"
        self.projection = (
            nn.Linear(features, hparams.width)
            if is_linear
            else projection(features, hparams.width, "none")
        )
        self.copy = MomentumCopy(self.backbone, self.projection)
        self.queue = LabeledQueue(hparams.queue, hparams.width, spec.classes)
        self.queue.labels.fill_(NO_CLASS)


def contrast_stage(name: str, epochs_scale: float = 1.0) -> Stage:
    """Return a stage of contrastive learning."""
    return Stage(
        name,
        views=("distorted", "distorted"),
        forward_passes=1,
        is_evaluated=False,
        epochs_scale=epochs_scale,
        changes=(({"views": "recipe"}, {"views": ("recipe", "recipe")}),),
    )


CLASSIFIER = Stage(
    "classifier",
    samplers=("class_balanced",),
    recipe_stage="stage2",
    passes=0,
    forward_passes=1,
)


class KCL(Method):
    """A contrastive representation, and a linear classifier on it."""

    title = "KCL"
    paper = Paper(
        title="Exploring Balanced Feature Spaces for Representation Learning",
        authors="Bingyi Kang, Yu Li, Sa Xie, Zehuan Yuan, Jiashi Feng",
        venue="ICLR",
        year=2021,
    )
    category = "representation"
    version = 2
    stages: ClassVar[tuple[Stage, ...]] = (contrast_stage("contrast"), CLASSIFIER)
    batch_dependence = "gathered"
    oracle = "kcl"
    HParams: ClassVar[type[KCLHParams]] = KCLHParams
    hparams: KCLHParams
    network: KCLNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network with its momentum encoder and queue."""
        return KCLNetwork(spec, self.hparams)

    def on_stage_start(self, stage: Stage) -> None:
        """Copy the initial weights, or freeze all but a new classifier."""
        network = self.network
        if stage.name == CLASSIFIER.name:
            self.freeze(network.backbone)
            self.freeze(network.projection)
            reset_linear(cast("nn.Linear", network.classifier))
            return
        self.freeze(network.classifier)
        if stage.name == "contrast":
            network.copy.follow(network.backbone, network.projection, momentum=0.0)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the contrastive loss, then the classifier's."""
        if self.stage.name == CLASSIFIER.name:
            return cross_entropy(self.network(batch.images), batch.labels)
        first, second = batch.images
        return self.contrast(first, second, batch.labels)

    def contrast(self, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        """Return the contrastive loss, and update momentum encoder and queue.

        Args:
            first: [B, C, H, W], the views of the queries.
            second: [B, C, H, W], the views of the keys.
            labels: [B].
        """
        network, hparams = self.network, self.hparams
        queries = unit_rows(network.projection(network.features(first)))
        network.copy.follow(network.backbone, network.projection, momentum=hparams.momentum)
        keys = network.copy.shuffled(second, self.rng, hparams.norm_groups)  # [N, D]
        own = keys[own_rows(len(queries))]
        queue = network.queue.snapshot(keys.dtype)
        same = labels[:, None] == network.queue.labels
        drawn = draw_positives(same, self.rng.uniform(labels, hparams.positives))
        loss = k_positive(
            queries,
            own,
            queue,
            same,
            drawn,
            hparams.temperature,
            hparams.unused,
            self.targets_of(queries, labels),
        )
        network.queue.push(keys=keys, labels=gather(labels))
        return loss

    def targets_of(
        self,
        queries: Tensor,  # noqa: ARG002 - of TSC
        labels: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, float] | None:
        """Return the targets of the classes, if there are any."""
        return None
