"""TSC, targeted supervised contrastive learning: KCL with a target for each class.

Li, Cao, Yuan, Fan, Yang, Feris, Indyk, Katabi, "Targeted Supervised Contrastive Learning for
Long-Tailed Recognition", CVPR 2022 (arXiv:2111.13998).

    targets: unit vectors with least mean log of summed exp cosines / 0.07   implemented
    classes assigned to targets by their centroids (Hungarian method)        implemented
    KCL in the first half of the epochs, targets in the second               implemented
    L = L_class + weight * L_target, by the number of positives and target   implemented
    linear classifier on frozen features                                     implemented

Each half has the recipe's schedule and a new optimizer, as theirs. Centroids begin at random and
move with every batch.

Where ours is not theirs: a step uses the assignment after the step before, so that the loss does
not wait for the CPU, or that of the epoch's start (`assign`), as the Hungarian method takes seconds
for thousands of classes; the classifier is trained as KCL's, theirs from a rate of 10 without
decay, with BatchNorm in training mode, on batches with four images of a class. Up to D + 1 classes
the targets are a regular simplex, more are found by Adam at each start of the second stage. Targets
are not repeated. On ImageNet-LT the authors train for 400 epochs, and KCL for 200: their half with
KCL's loss is as long as all of KCL, ours is half as long. The rest is KCL's.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.distributed import gather
from ltbench.methods.contract import LATER, Paper, Progress, Stage
from ltbench.methods.module_improvement.kcl import CLASSIFIER, KCL, KCLHParams, contrast_stage
from ltbench.networks import NetworkSpec
from ltbench.networks.class_targets import assign_targets, moved_centroids, spread_points


class TSCHParams(KCLHParams):
    """Hyper-parameters of TSC."""

    head: Literal["linear", "mlp"] = Field("mlp", description="kind of projection")
    target_weight: float = Field(0.2, ge=0, description="weight of the target as a positive")
    centroid_momentum: float = Field(0.9, ge=0, lt=1, description="of the class centroids")
    target_steps: int = Field(
        10000, ge=1, description="steps of Adam for targets of more classes than dimensions + 1"
    )
    assign: Literal["step", "epoch"] = Field(
        "step",
        description="whether classes are assigned after each step or before each epoch",
        json_schema_extra=LATER,
    )


class TSC(KCL):
    """A contrastive representation around targets, and a linear classifier on it."""

    title = "TSC"
    paper = Paper(
        title="Targeted Supervised Contrastive Learning for Long-Tailed Recognition",
        authors="Tianhong Li, Peng Cao, Yuan Yuan, Lijie Fan, Yuzhe Yang, Rogerio Feris, "
        "Piotr Indyk, Dina Katabi",
        venue="CVPR",
        year=2022,
        arxiv="2111.13998",
    )
    stages = (contrast_stage("contrast", 0.5), contrast_stage("targeted", 0.5), CLASSIFIER)
    oracle = "tsc"
    HParams = TSCHParams
    hparams: TSCHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return KCL's network; make centroids and targets."""
        network = super().build_network(spec)
        shape = (spec.classes, self.hparams.width)
        self.centroids: Tensor
        self.targets: Tensor
        self.assignment: Tensor
        self.register_buffer("centroids", F.normalize(torch.randn(shape)))
        self.register_buffer("targets", torch.zeros(shape))
        self.register_buffer("assignment", torch.arange(spec.classes))
        return network

    def on_stage_start(self, stage: Stage) -> None:
        """Set the targets of the second stage; the rest as KCL."""
        super().on_stage_start(stage)
        if stage.name == "targeted":
            width, steps = self.hparams.width, self.hparams.target_steps
            self.targets.copy_(spread_points(self.spec.classes, width, steps))
            self.assignment.copy_(assign_targets(self.centroids, self.targets))

    def targets_of(self, queries: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, float] | None:
        """Return targets, those of the queries and their weight; move the centroids."""
        if self.stage.name != "targeted":
            return None
        moved = moved_centroids(
            self.centroids, gather(queries), gather(labels), self.hparams.centroid_momentum
        )
        self.centroids.copy_(moved)
        own = self.assignment[labels]
        return self.targets.to(queries.dtype), own, self.hparams.target_weight

    def on_epoch_start(self, progress: Progress) -> None:
        """Assign classes to targets anew, if not after each step."""
        super().on_epoch_start(progress)
        self._assign("epoch")

    def on_step_end(self) -> None:
        """Assign classes to targets anew, if not before each epoch."""
        self._assign("step")

    def _assign(self, when: str) -> None:
        if self.stage.name == "targeted" and self.hparams.assign == when:
            self.assignment.copy_(assign_targets(self.centroids, self.targets))
