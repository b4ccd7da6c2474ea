"""SSP: self-supervised pre-training of the backbone for any method.

Yang and Xu, "Rethinking the Value of Labels for Improving Class-Imbalanced Learning", NeurIPS 2020
(arXiv:2006.07529), section 4.

    rotation: predict the rotation of an image (Gidaris et al., ICLR 2018)              implemented
    moco: InfoNCE of two views, momentum encoder, queue (He et al., CVPR 2020)          implemented
    only the backbone is transferred, to variants of a grid with `init_from: ssp`      implemented

No labels are used and no class is predicted: the stage is not tested. The paper uses rotation on
CIFAR, for 200 epochs, and MoCo (version 2: a multi-layer perceptron as head, T = 0.2) on ImageNet
and iNaturalist, with a cosine from learning rate 0.015 at batch size 128. Rotations are drawn as in
the authors' code, as a permutation with equally many of each, of the recipe's view; both views of
MoCo are distorted, as theirs.

MoCo shuffles the images of the momentum encoder over devices, ours over `norm_groups` parts of the
global batch (see `MomentumCopy.shuffled`).
"""

from collections import OrderedDict
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from ltbench.augment import TURNS, turned
from ltbench.classifiers import linear
from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import own_rows
from ltbench.losses import cross_entropy, info_nce
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.momentum import KeyQueue, MomentumCopy
from ltbench.networks.projection import projection

OF_MOCO: dict[str, Any] = {"only_with": {"task": "moco"}}


class SSPHParams(HParams):
    """Hyper-parameters of SSP; all but the first two are MoCo's."""

    task: Literal["rotation", "moco"] = Field("rotation", description="self-supervised task")
    lr: float = Field(1.0, gt=0, description="learning rate, relative to the recipe's")
    temperature: float = Field(
        0.2, gt=0, description="of the similarities", json_schema_extra=OF_MOCO
    )
    queue: int = Field(
        65536, ge=1, description="number of keys in the queue", json_schema_extra=OF_MOCO
    )
    width: int = Field(
        128, ge=1, description="dimension of the projection", json_schema_extra=OF_MOCO
    )
    momentum: float = Field(
        0.999, ge=0, lt=1, description="of the momentum encoder", json_schema_extra=OF_MOCO
    )
    norm_groups: int = Field(
        8,
        ge=1,
        description="parts of a batch of keys that BatchNorm normalizes separately",
        json_schema_extra=OF_MOCO,
    )


class SSP(Method):
    """A backbone trained without labels."""

    title = "SSP pre-training"
    paper = Paper(
        title="Rethinking the Value of Labels for Improving Class-Imbalanced Learning",
        authors="Yuzhe Yang, Zhi Xu",
        venue="NeurIPS",
        year=2020,
        arxiv="2006.07529",
    )
    category = "transfer"
    version = 2
    stages = (
        Stage(
            "pretrain",
            is_evaluated=False,
            changes=(
                ({"task": "moco"}, {"views": ("distorted", "distorted"), "forward_passes": 1}),
            ),
        ),
    )
    batch_dependence = "gathered"
    oracle = "ssp"
    HParams = SSPHParams
    hparams: SSPHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a backbone with the task's head; build MoCo's encoder and queue."""
        backbone, features = build_backbone(spec)
        hparams = self.hparams
        if hparams.task == "rotation":
            return nn.Sequential(OrderedDict(backbone=backbone, head=linear(features, TURNS)))
        head = projection(features, hparams.width, "none")
        network = nn.Sequential(OrderedDict(backbone=backbone, head=head))
        self.slow = MomentumCopy(network)
        self.queue = KeyQueue(hparams.queue, hparams.width)
        return network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Copy the initial weights to the momentum encoder."""
        if self.hparams.task == "moco":
            self.slow.follow(self.network, momentum=0.0)

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002 - equal for all
        """Return a parameter's learning rate, relative to the recipe's."""
        return self.hparams.lr

    def training_loss(self, batch: Batch) -> Loss:
        """Return the loss of the task."""
        if self.hparams.task == "rotation":
            turns = self.rng.permutation(batch.index) % TURNS  # [B]
            return cross_entropy(self.network(turned(batch.images, turns)), turns)
        return self.contrast(*batch.images)

    def contrast(self, first: Tensor, second: Tensor) -> Tensor:
        """Return MoCo's contrastive loss, and update its encoder and queue.

        Args:
            first: [B, C, H, W], the views of the queries.
            second: [B, C, H, W], the views of the keys.
        """
        queries = unit_rows(self.network(first))
        self.slow.follow(self.network, momentum=self.hparams.momentum)
        keys = self.slow.shuffled(second, self.rng, self.hparams.norm_groups)  # [N, D]
        positives = keys[own_rows(len(queries))]
        negatives = self.queue.snapshot(keys.dtype)
        loss = info_nce(queries, positives, negatives, self.hparams.temperature)
        self.queue.push(keys=keys)
        return loss
