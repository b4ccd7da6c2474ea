"""GPaCo: PaCo without a momentum encoder, both views anchors.

Cui, Zhong, Tian, Liu, Yu, Jia, "Generalized Parametric Contrastive Learning", TPAMI 2023
(arXiv:2209.12400).

    anchors of both views, with gradient, in PaCo's loss; queue of second views     implemented
    class part with label smoothing                                                 implemented
    projection with two hidden layers, without BatchNorm                            implemented
    RandAugment, AutoAugment and Cutout of the first view      left to the recipe
    RandAugment of the second view on ImageNet                 left out

Where ours is not theirs: ranks contrast with the views of the global batch, theirs with their own.
Labels are not smoothed by default, as in the authors' scripts. On CIFAR the authors also blur
second views, with probability 0.2. Predictions are the linear classifier's, without prior. The
authors train for 400 epochs, with a cosine from 0.1 on CIFAR-100-LT and 0.04 on ImageNet-LT.
"""

import torch
from pydantic import Field
from torch import nn

from ltbench.classifiers import linear
from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import gather, gather_with_gradient, own_positions
from ltbench.losses import paco
from ltbench.losses.contrast import similarities
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.momentum import LabeledQueue


class GPaCoHParams(HParams):
    """Hyper-parameters of GPaCo."""

    alpha: float = Field(0.045, ge=0, description="weight of a positive sample; the class has 1")
    gamma: float = Field(1.0, ge=0, description="weight of samples in the denominator")
    smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing of the class part")
    temperature: float = Field(0.2, gt=0, description="of the similarities between samples")
    queue: int = Field(8192, ge=1, description="number of keys in the queue")
    width: int = Field(128, ge=1, description="dimension of the projection")


class GPaCoNetwork(Network):
    """A network with a projection and a queue."""

    def __init__(self, spec: NetworkSpec, width: int, queue: int) -> None:
        backbone, features = build_backbone(spec)
        super().__init__(backbone, linear(features, spec.classes))
        hidden = [nn.Linear(features, features), nn.ReLU(inplace=True)]
        deeper = [nn.Linear(features, features), nn.ReLU(inplace=True)]
        self.projection = nn.Sequential(*hidden, *deeper, nn.Linear(features, width))
        self.queue = LabeledQueue(queue, width, spec.classes)


class GPaCo(Method):
    """A classifier and a projection of two views, under one softmax."""

    title = "GPaCo"
    paper = Paper(
        title="Generalized Parametric Contrastive Learning",
        authors="Jiequan Cui, Zhisheng Zhong, Zhuotao Tian, Shu Liu, Bei Yu, Jiaya Jia",
        venue="TPAMI",
        year=2023,
        arxiv="2209.12400",
    )
    category = "representation"
    version = 2
    stages = (Stage("train", views=("recipe", "distorted"), passes=2),)
    batch_dependence = "gathered"
    oracle = "gpaco"
    HParams = GPaCoHParams
    hparams: GPaCoHParams
    network: GPaCoNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network with its projection and queue."""
        return GPaCoNetwork(spec, self.hparams.width, self.hparams.queue)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the contrastive loss of both views."""
        hparams, queue = self.hparams, self.network.queue
        features = torch.cat([self.network.features(view) for view in batch.images])
        anchors = unit_rows(self.network.projection(features))  # [2 B, D]
        first, second = map(gather_with_gradient, anchors.chunk(2))  # [N, D]
        labels, own = gather(batch.labels), own_positions(batch.labels)
        contrast = torch.cat([first, second, queue.keys.to(anchors.dtype)])
        loss = paco(
            self.network.classifier(features),
            batch.labels.repeat(2),
            similarities(anchors, contrast, hparams.temperature),
            torch.cat([labels, labels, queue.labels]),
            torch.cat([own, len(labels) + own]),
            self.counts,
            alpha=hparams.alpha,
            gamma=hparams.gamma,
            smoothing=hparams.smoothing,
        )
        queue.push(keys=second.detach(), labels=labels)
        return loss
