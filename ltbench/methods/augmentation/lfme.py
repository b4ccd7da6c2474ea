"""LFME: a student of three experts, one for each shot group.

Xiang, Ding, Han, "Learning From Multiple Experts: Self-paced Knowledge Distillation for Long-tailed
Classification", ECCV 2020 (arXiv:2001.01536).

    L = CE(v z, y) + sum_E w_E KL(softmax(z_E / T) || softmax(v z / T) on E's classes)   implemented
    w_E: 1 until the student reaches a share of E's accuracy, then linearly to 0         implemented
    v(e) = v_0 + (1 - v_0) e / (epochs / 2)                                              implemented
    v_0: E's confidence, scaled within each class to [n_few / n_E, 1]                    implemented
    experts: softmax on one group's images and classes alone, jobs of their own          implemented

Ours is the form of the authors' code, which gave the published numbers: v multiplies the logits and
not the loss, and grows past 1 in the second half; the divergence has no factor T^2; n_few and n_E
are mean images per class. Experts have 1/2, 1/4 and 1/8 of the student's batch size, as theirs do,
and otherwise its recipe (theirs: 4/3 of its epochs and a cosine). For w_E the authors use
accuracies on validation images after each epoch (`accuracies: validation`); by default ours are
those on the augmented training images of the epoch before, which need no image to be held out. An
expert's is among its own classes. Class-aware batches have four images of a
class at a time. Groups are the dataset's shot groups, theirs are split at 100 and 20 images. An
empty group has no expert.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.distributed import all_sum
from ltbench.losses import (
    cross_entropy,
    curriculum_weights,
    distillation,
    ease_within_classes,
    expert_weight,
)
from ltbench.methods.contract import (
    LATER,
    Batch,
    HParams,
    Loss,
    Method,
    Paper,
    Progress,
    Stage,
    Teacher,
    TrainedTeacher,
)
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.networks import NetworkSpec
from ltbench.networks.partial import PartialNetwork


class LFMEHParams(HParams):
    """Hyper-parameters of LFME."""

    temperature: float = Field(2.0, gt=0, description="of student and experts in distillation (T)")
    decay_from: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="share of an expert's accuracy from which the student's lowers its weight",
    )
    accuracies: Literal["training", "validation"] = Field(
        "training",
        description="images of the accuracies that weigh the experts: those of the epoch's batches "
        "or, as in the paper, held-out ones",
        json_schema_extra=LATER,
    )


class LFME(Method):
    """Self-paced distillation from experts, with a curriculum of images."""

    title = "LFME"
    paper = Paper(
        title="Learning From Multiple Experts: Self-paced Knowledge Distillation for Long-tailed "
        "Classification",
        authors="Liuyu Xiang, Guiguang Ding, Jungong Han",
        venue="ECCV",
        year=2020,
        arxiv="2001.01536",
    )
    category = "transfer"
    version = 3
    stages = (
        Stage(
            "train",
            samplers=("class_aware(per_class=4)",),
            needs_statistics_pass=True,
            changes=(({"accuracies": "validation"}, {"tunes_on_validation": "epochs"}),),
        ),
    )
    teachers = (
        Teacher("softmax", subset="many", batch_share=1 / 2),
        Teacher("softmax", subset="medium", batch_share=1 / 4),
        Teacher("softmax", subset="few", batch_share=1 / 8),
    )
    batch_dependence = "gathered"
    oracle = "lfme"
    HParams = LFMEHParams
    hparams: LFMEHParams

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: Any = None) -> None:
        super().__init__(spec, counts, hparams)
        self.panel = nn.ModuleList()
        self.ease: Tensor  # [N] of each training image
        self.weights: Tensor  # [E] of each expert
        self.tally: Tensor  # [E, 3] images of its classes in the epoch; student's, expert's hits
        self.labels: Tensor  # [N]
        images = int(counts.sum())
        self.register_buffer("ease", torch.ones(images))
        self.register_buffer("labels", torch.zeros(images, dtype=torch.int64), persistent=False)
        self.register_buffer("weights", torch.ones(len(self.teachers)))
        self.register_buffer("tally", torch.zeros(len(self.teachers), 3, dtype=torch.int64))

    @property
    def experts(self) -> list[PartialNetwork]:
        """The experts, one for each group that has classes."""
        return [cast("PartialNetwork", expert) for expert in self.panel]

    def load_teachers(self, teachers: Sequence[TrainedTeacher]) -> None:
        """Build the experts."""
        for teacher in teachers:
            classes = teacher.classes
            expert = Softmax(replace(self.spec, classes=len(classes)), self.counts[classes])
            expert.load_state_dict(teacher.weights, assign=True)
            self.panel.append(PartialNetwork(expert.network, classes))
        self.freeze(self.panel)

    def update_statistics(self, batch: Batch) -> None:
        """Store the experts' probability of each image's label."""
        confidence = self.ease.new_zeros(len(batch), self.spec.classes)
        for expert in self.experts:
            probabilities = expert(batch.images).softmax(dim=1)
            confidence[:, expert.classes] = probabilities.to(confidence.dtype)
        self.ease[batch.index] = confidence.gather(1, batch.labels[:, None])[:, 0]
        self.labels[batch.index] = batch.labels

    def finalize_statistics(self) -> None:
        """Scale the probabilities within each class."""
        sizes = self.ease.new_ones(self.spec.classes)
        for expert in self.experts:
            sizes[expert.classes] = self.counts[expert.classes].to(sizes.dtype).mean()
        self.ease.copy_(ease_within_classes(self.ease, self.labels, sizes.min() / sizes))

    def on_epoch_start(self, progress: Progress) -> None:  # noqa: ARG002
        """Weigh the experts by the student's accuracy in the last epoch."""
        for i, (images, student, expert) in enumerate(self.tally.tolist()):
            if images:
                accuracies = student / images, expert / images
                self.weights[i] = expert_weight(*accuracies, self.hparams.decay_from)
        self.tally.zero_()

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy of weighted logits and the distillation losses."""
        progress = (self.progress.epoch + 1) / self.progress.epochs
        weights = curriculum_weights(self.ease[batch.index], progress)
        logits = weights[:, None] * self.network(batch.images)  # [B, C]
        losses = {"classes": cross_entropy(logits, batch.labels)}
        teachers = [expert(batch.images) for expert in self.experts]  # each [B, K]
        for i, (expert, teacher) in enumerate(zip(self.experts, teachers, strict=True)):
            divergence = distillation(logits[:, expert.classes], teacher, self.hparams.temperature)
            losses[f"expert {i}"] = self.weights[i] * divergence
        if self.hparams.accuracies == "training":
            self.tally += all_sum(self.hits(batch.labels, logits, teachers))
        return losses

    def tune_on_validation(self, batches: Iterable[Batch]) -> None:
        """Count the hits on held-out images."""
        for batch in batches:
            teachers = [expert(batch.images) for expert in self.experts]
            self.tally += self.hits(batch.labels, self.network(batch.images), teachers)

    def hits(self, labels: Tensor, logits: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """Return the counts [E, 3] of `tally` of a batch."""
        tally = torch.zeros_like(self.tally)
        right = logits.argmax(dim=1) == labels
        for i, (expert, teacher) in enumerate(zip(self.experts, teachers, strict=True)):
            in_group = torch.isin(labels, expert.classes)
            expert_right = expert.classes[teacher.argmax(dim=1)] == labels
            tally[i] = torch.stack([in_group, in_group & right, expert_right]).sum(dim=1)
        return tally
