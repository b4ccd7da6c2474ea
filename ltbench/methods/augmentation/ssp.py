"""SSP: self-supervised pre-training, for any method to start from.

Yang and Xu, "Rethinking the Value of Labels for Improving Class-Imbalanced Learning", NeurIPS 2020
(arXiv:2006.07529), section 4.

    rotation: which quarter turn an image was given (Gidaris et al., ICLR 2018)         implemented
    moco: InfoNCE of two views, momentum encoder, queue (He et al., CVPR 2020)          implemented
    the backbone alone is handed on, to variants of a grid with `init_from: ssp`       implemented

No label is looked at and no class predicted: the stage is not tested. The paper turns the images of
CIFAR, for 200 epochs, and uses MoCo (version 2: a perceptron as head, T = 0.2) for ImageNet and
iNaturalist, with a cosine from rate 0.015 at batch 128. Turns are drawn as in the authors' code, as
a permutation of equally many of each. Strong augmentation is left to the recipe.

MoCo shuffles the images of the momentum encoder over devices, so that BatchNorm's statistics do not
betray which key is a query's own. Here they are shuffled over `norm_groups` parts of the global
batch, each normalized alone, however many ranks share them; on one device too.
"""

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.augment import TURNS, turned
from ltbench.classifiers import linear
from ltbench.core.distributed import gather, rank, world_size
from ltbench.losses import cross_entropy, info_nce
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.momentum import KeyQueue, MomentumCopy, projection


class SSPHParams(HParams):
    """Hyper-parameters of SSP; all but the first two are MoCo's."""

    task: Literal["rotation", "moco"] = Field("rotation", description="what is learned")
    lr: float = Field(1.0, gt=0, description="learning rate, relative to the recipe's")
    temperature: float = Field(0.2, gt=0, description="of the similarities")
    queue: int = Field(65536, ge=1, description="keys kept from former batches")
    width: int = Field(128, ge=1, description="numbers in a projection")
    momentum: float = Field(0.999, ge=0, lt=1, description="of the encoder that makes keys")
    norm_groups: int = Field(8, ge=1, description="parts of a batch whose keys are made apart")


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
    stages = (
        Stage(
            "pretrain",
            is_evaluated=False,
            changes=(({"task": "moco"}, {"views": 2, "forward_passes": 1}),),
        ),
    )
    batch_dependence = "gathered"
    oracle = "ssp"
    HParams = SSPHParams
    hparams: SSPHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a backbone with the head of the task; MoCo's copy and queue stand beside it."""
        backbone, features = build_backbone(spec)
        hparams = self.hparams
        if hparams.task == "rotation":
            return nn.Sequential(OrderedDict(backbone=backbone, head=linear(features, TURNS)))
        head = projection(features, hparams.width, "none")
        network = nn.Sequential(OrderedDict(backbone=backbone, head=head))
        self.slow = MomentumCopy(network)
        self.queue = KeyQueue(hparams.queue, hparams.width)
        return network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - there is one
        """Begin with a copy of whatever network training begins with."""
        if self.hparams.task == "moco":
            self.slow.follow(self.network, momentum=0.0)

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002 - all are alike
        """Return the multiple of the recipe's learning rate."""
        return self.hparams.lr

    def training_loss(self, batch: Batch) -> Loss:
        """Return the loss of the task, of one view or two."""
        if self.hparams.task == "rotation":
            turns = self.rng.permutation(batch.index) % TURNS  # [B]
            return cross_entropy(self.network(turned(batch.images, turns)), turns)
        return self.contrast(*batch.images)

    def contrast(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the contrast of first views with second ones and the queue; the queue moves on."""
        queries = F.normalize(self.network(first))
        self.slow.follow(self.network, momentum=self.hparams.momentum)
        keys = self.keys(second)  # [N, D]
        own = keys[rank() * len(queries) : (rank() + 1) * len(queries)]
        others = self.queue.keys.to(keys.dtype, copy=True)  # the queue moves on before the gradient
        loss = info_nce(queries, own, others, self.hparams.temperature)
        self.queue.push(keys=keys)
        return loss

    def keys(self, images: Tensor) -> Tensor:
        """Return the keys [N, D] of the global batch, of images [B, C, H, W] of this rank."""
        order = self.rng.permutation(images)
        parts = self.rng.gather_permuted(images, order).chunk(
            max(self.hparams.norm_groups // world_size(), 1)
        )
        shuffled = gather(torch.cat([self.slow(part) for part in parts]))
        return shuffled[gather(order).argsort()]
