"""LOCE: margins and replayed features, by how well classes are recognized.

Feng, Zhong, Huang, "Exploring Classification Equilibrium in Long-Tailed Object Detection", ICCV
2021 (arXiv:2108.07507), section 3.

    s_c, running mean of the probability of the label, over images of class c        implemented
    L = -log (s_y exp(z_y) / sum_j s_j exp(z_j)), the equilibrium loss               implemented
    memory of the 80 latest features of each class                                   implemented
    8 classes a step with P_c ~ 1 / s_c, 4 stored features of each                   implemented
    the background, with a score of its own, and jittered boxes of an object         left out
    the classifier goes on for a quarter of the epochs, all else fixed               implemented

As in the authors' code s is 0.01 at first and s <- 0.9^k s + (1 - 0.9^k) m with k images of mean m
in a batch, before its loss; the replayed features of a class count as one image, the mean of
theirs; the loss is a mean over images and replayed features; predictions are those of z alone.

Where ours is not theirs: the pass that fills the memory is over all images, and a single update of
the scores, so that it does not depend on the size of its batches; theirs is over as many images of
each class, so that scores of classes with few images start higher than ours, for about 200 steps.
BatchNorm keeps its statistics; a batch of 128 images gets the 32 features that theirs gets for 8192
proposals. Rates are the recipe's of stage 1, its milestones moved along. It is a second stage on a
frozen backbone, to be compared with cRT rather than with softmax. Saved weights hold the memory: 80
features a class, 16 with more than 2,000 classes.
"""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.distributed import gather, world_size
from ltbench.losses import vector_scaling
from ltbench.losses.counts import or_one
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.class_statistics import ClassMeans, ClassMemory
from ltbench.samplers import draw_by_weight

FIRST = 0.01
"""Score of a class before any image."""
EPSILON = 1e-7
"""Added to scores that are divided by; the smallest whose logarithm is taken."""


def updated_scores(scores: Tensor, sums: Tensor, images: Tensor, decay: float = 0.9) -> Tensor:
    """Return running mean scores after a batch.

    Args:
        scores: [C], before it.
        sums: [C], of the scores of its images.
        images: [C] float64, their number.
        decay: share that a score keeps at each image.
    """
    kept = decay**images
    return kept * scores + (1 - kept) * sums / or_one(images)


def drawn_classes(scores: Tensor, numbers: Tensor) -> Tensor:
    """Return classes drawn with probabilities in proportion to 1 / s.

    Args:
        scores: [C].
        numbers: [K] uniform in [0, 1).

    Returns:
        [K] int64.
    """
    return draw_by_weight(1 / (scores + EPSILON), numbers)


class LOCEHParams(HParams):
    """Hyper-parameters of LOCE."""

    decay: float = Field(0.9, ge=0, lt=1, description="share that a score keeps at each image")
    memory: int = Field(80, ge=1, description="features kept of each class")
    classes: int = Field(8, ge=1, description="classes drawn in a step")
    per_class: int = Field(4, ge=1, description="features replayed of each drawn class")


class LOCE(Method):
    """A trained classifier goes on, on images and on stored features."""

    title = "LOCE"
    paper = Paper(
        title="Exploring Classification Equilibrium in Long-Tailed Object Detection",
        authors="Chengjian Feng, Yujie Zhong, Weilin Huang",
        venue="ICCV",
        year=2021,
        arxiv="2108.07507",
    )
    category = "cost-sensitive"
    stages = (
        Stage(
            "classifier",
            needs_statistics_pass=True,
            epochs_scale=0.25,
            passes=0,
            forward_passes=1,
        ),
    )
    init_from = "softmax"
    required_init_tensors = ("weight",)
    batch_dependence = "gathered"
    HParams = LOCEHParams
    hparams: LOCEHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network; register scores and memory of the classes."""
        backbone, width = build_backbone(spec)
        self.scores: Tensor
        scores = torch.full((spec.classes,), FIRST, dtype=torch.float64)
        self.register_buffer("scores", scores)
        self.memory = ClassMemory(torch.full((spec.classes,), self.hparams.memory), width)
        return Network(backbone, linear(width, spec.classes))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze the backbone."""
        self.freeze(self.network.backbone)
        self.means = ClassMeans(self.spec.classes)

    def update_statistics(self, batch: Batch) -> None:
        """Store a batch's features, and collect its scores."""
        features = self.network.features(batch.images)
        self.memory.store(features, batch.labels)
        self.means.add(self.scores_of(features, batch.labels)[:, None], batch.labels)

    def finalize_statistics(self) -> None:
        """Update the scores with those of all images."""
        images = self.means.totals.double()
        sums = self.means.means()[:, 0] * images
        self.scores.copy_(updated_scores(self.scores, sums, images, self.hparams.decay))

    def scores_of(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the probabilities [B] of the labels, float64."""
        logits: Tensor = self.network.classifier(features.to(self.memory.values.dtype))
        return logits.double().softmax(dim=1).gather(1, labels[:, None])[:, 0]

    def training_loss(self, batch: Batch) -> Loss:
        """Return the equilibrium losses of images and of replayed features."""
        classes, stored = self.replay()
        features = self.network.features(batch.images)
        self.update_scores(features, batch.labels, classes, stored)
        replayed = len(classes) / (len(batch) * world_size() + len(classes))
        losses = {
            "classes": (1 - replayed) * self.equilibrium_loss(features, batch.labels),
            "replayed": replayed * self.equilibrium_loss(stored, classes),
        }
        self.memory.push(features, batch.labels)
        return losses

    def replay(self) -> tuple[Tensor, Tensor]:
        """Return a step's classes [R] and stored features [R, D]."""
        hparams, device = self.hparams, self.scores.device
        classes = drawn_classes(self.scores, self.rng.shared(hparams.classes).to(device))
        numbers = self.rng.shared(hparams.classes, hparams.per_class).to(device)
        stored = self.memory.draw(classes, numbers)
        return classes.repeat_interleave(hparams.per_class), stored.flatten(0, 1)

    @torch.no_grad()
    def update_scores(
        self, features: Tensor, labels: Tensor, classes: Tensor, stored: Tensor
    ) -> None:
        """Update the scores with a step's images and replayed features."""
        scores, labels = gather(self.scores_of(features, labels)), gather(labels)
        member, again = (F.one_hot(each, self.spec.classes).double() for each in (labels, classes))
        count = again.sum(dim=0)  # [C]
        once = (count > 0).double()
        replayed = again.T @ self.scores_of(stored, classes) / or_one(count)
        sums, images = member.T @ scores + replayed, member.sum(dim=0) + once
        self.scores.copy_(updated_scores(self.scores, sums, images, self.hparams.decay))

    def equilibrium_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of z + log s of features."""
        offsets = torch.where(self.scores > EPSILON, self.scores, EPSILON).log()
        return vector_scaling(self.network.classifier(features), labels, offsets=offsets)
