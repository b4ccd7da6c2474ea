"""PaCo: supervised contrastive learning with class weights as further samples.

Cui, Zhong, Liu, Yu, Jia, "Parametric Contrastive Learning", ICCV 2021 (arXiv:2107.12028).

    L_i = sum over P(i) and the center of y_i of -w log p, w = alpha or 1    (5)   implemented
    class logits with the log prior added, as in balanced softmax                  implemented
    momentum encoder and queue (MoCo), projection with one hidden layer            implemented
    shuffled BatchNorm of MoCo      left out: the momentum encoder uses its rank's batch
    RandAugment, AutoAugment and Cutout of the queries' view      left to the recipe

As in the authors' code the positives' weights are divided by their sum, class logits come from the
pooled features and similarities of samples from their projections. Every rank contrasts with the
queries and keys of the global batch. The initial queue has rows of length 1; theirs is normalized
along the other axis. Predictions are the linear classifier's, without prior.

Queries see the recipe's view, keys a distorted one, as theirs; on CIFAR the authors also blur keys,
with probability 0.2, and ours are not blurred up to 64 pixels.

The learning rate is the recipe's times `lr`. The authors train for 400 epochs with a cosine from
0.05 on CIFAR-100-LT, from 0.02 on ImageNet-LT, and for 30 epochs from 0.02 on Places-LT.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import gather, gather_with_gradient, own_positions
from ltbench.losses import paco
from ltbench.losses.contrast import similarities
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.momentum import LabeledQueue, MomentumCopy
from ltbench.networks.projection import projection


class PaCoHParams(HParams):
    """Hyper-parameters of PaCo."""

    alpha: float = Field(0.05, ge=0, description="weight of a positive sample; the class has 1")
    gamma: float = Field(1.0, ge=0, description="weight of samples in the denominator")
    temperature: float = Field(0.2, gt=0, description="of the similarities between samples")
    queue: int = Field(8192, ge=1, description="number of keys in the queue")
    width: int = Field(128, ge=1, description="dimension of the projection")
    momentum: float = Field(0.999, ge=0, lt=1, description="of the momentum encoder")
    lr: float = Field(1.0, gt=0, description="learning rate, relative to the recipe's")


class PaCoNetwork(Network):
    """A network with a projection, a momentum encoder and a queue."""

    def __init__(self, spec: NetworkSpec, width: int, queue: int) -> None:
        backbone, features = build_backbone(spec)
        super().__init__(backbone, linear(features, spec.classes))
        self.projection = projection(features, width, spec.norm)
        self.copy = MomentumCopy(self.backbone, self.projection)
        self.queue = LabeledQueue(queue, width, spec.classes)

    def follow(self, momentum: float) -> None:
        """Update the momentum encoder."""
        self.copy.follow(self.backbone, self.projection, momentum=momentum)


class PaCo(Method):
    """A classifier and a projection, trained by one softmax over both."""

    title = "PaCo"
    paper = Paper(
        title="Parametric Contrastive Learning",
        authors="Jiequan Cui, Zhisheng Zhong, Shu Liu, Bei Yu, Jiaya Jia",
        venue="ICCV",
        year=2021,
        arxiv="2107.12028",
    )
    category = "representation"
    version = 3
    stages = (Stage("train", views=("recipe", "distorted"), forward_passes=1),)
    batch_dependence = "gathered"
    oracle = "paco"
    HParams = PaCoHParams
    hparams: PaCoHParams
    network: PaCoNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network with its momentum encoder and queue."""
        return PaCoNetwork(spec, self.hparams.width, self.hparams.queue)

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Copy the initial weights to the momentum encoder."""
        self.network.follow(momentum=0.0)

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002 - equal for all
        """Return a parameter's learning rate, relative to the recipe's."""
        return self.hparams.lr

    def training_loss(self, batch: Batch) -> Loss:
        """Return the contrastive loss; second views are the keys."""
        first, second = batch.images
        features = self.network.features(first)
        queries = unit_rows(self.network.projection(features))
        self.network.follow(self.hparams.momentum)
        keys, labels = gather(self.network.copy(second)), gather(batch.labels)
        loss = self.loss(self.network.classifier(features), batch.labels, queries, keys, labels)
        self.network.queue.push(keys=keys, labels=labels)
        return loss

    def loss(
        self, logits: Tensor, labels: Tensor, queries: Tensor, keys: Tensor, key_labels: Tensor
    ) -> Tensor:
        """Return the loss of this rank's queries.

        They are contrasted with the queries and keys of the global batch, and with the queue.

        Args:
            logits: [B, C] of the queries.
            labels: [B] of the queries.
            queries: [B, D], of length 1.
            keys: [N, D] of the global batch.
            key_labels: [N].
        """
        hparams, queue = self.hparams, self.network.queue
        contrast = torch.cat([gather_with_gradient(queries), keys, queue.keys.to(keys.dtype)])
        return paco(
            logits,
            labels,
            similarities(queries, contrast, hparams.temperature),
            torch.cat([key_labels, key_labels, queue.labels]),
            own_positions(labels),
            self.counts,
            alpha=hparams.alpha,
            gamma=hparams.gamma,
        )
