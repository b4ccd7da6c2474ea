"""Inflated episodic memory, our reading: class keys, and attention to regions.

Zhu and Yang, "Inflated Episodic Memory With Region Self-Attention for Long-Tailed Visual
Recognition", CVPR 2020.

    a memory of several features of each class, updated class by class          our reading
    self-attention between positions and regions at several scales              our reading

Our reading: the abstract and the survey's text were at hand, the equations and the code were not.
Every formula and number below is ours; what is printed of it says nothing about the paper, and is
compared with no number of it or of the survey.

    last map x + attention of its positions to the mean features of regions, then its mean f
    query q = W f / |W f|, W the identity at first; M keys of length 1 for each class, 4, and 8
        where images are larger than 64 pixels
    P_c = sum of softmax(q k / tau) over the slots of class c, tau = 0.1
    L = CE(z, y) - log P_y, z the logits of a linear classifier
    prediction softmax(z) + P

A softmax network is trained first. A pass over the training images then fills the slots, and half
of the epochs train everything with batches of four images of a class at a time, the backbone at a
tenth of the rate. After each step its images are written: where the memory predicts the label, the
nearest slot of the class moves, k <- norm(0.9 k + 0.1 q); else the slot of the class with the
fewest uses is replaced. Keys have no gradient. Attention is for ResNets and FastNets.
"""

import math
from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.autocast import at_least_float32, unit_rows
from ltbench.core.distributed import gather
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.methods.weight_transfer import BACKBONE
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.attentive import AttentiveNetwork
from ltbench.networks.region_attention import RegionAttention
from ltbench.networks.slot_memory import SlotMemory


class IEMHParams(HParams):
    """Hyper-parameters of inflated episodic memory, all of them ours."""

    slots: int = Field(4, ge=1, description="keys of each class (M)")
    temperature: float = Field(0.1, gt=0, description="of the softmax over slots (tau)")
    share: float = Field(0.9, ge=0, lt=1, description="share of its key that a slot keeps")
    memory_weight: float = Field(1.0, ge=0, description="weight of the memory's loss")
    feature_lr: float = Field(
        0.1, ge=0, description="learning rate of the backbone, relative to the rest"
    )


class MemoryNetwork(AttentiveNetwork):
    """A network with region attention that queries a memory of class keys."""

    def __init__(self, spec: NetworkSpec, hparams: IEMHParams) -> None:
        backbone, width = build_backbone(spec)
        super().__init__(backbone, linear(width, spec.classes), partial(RegionAttention, width))
        self.query = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.query.weight)
        self.memory = SlotMemory(
            spec.classes, hparams.slots, width, hparams.temperature, hparams.share
        )

    def queries(self, features: Tensor) -> Tensor:
        """Return queries [B, D] of features, of length 1."""
        return unit_rows(self.query(features))


class IEM(Method):
    """A classifier beside a memory of class keys (our reading).

    The memory has several keys of each class.
    """

    title = "IEM"
    paper = Paper(
        title="Inflated Episodic Memory With Region Self-Attention for Long-Tailed Visual "
        "Recognition",
        authors="Linchao Zhu, Yi Yang",
        venue="CVPR",
        year=2020,
    )
    category = "representation"
    version = 2
    own_reading = True
    stages = (
        Stage(
            "memory",
            samplers=("class_aware(per_class=4)",),
            needs_statistics_pass=True,
            epochs_scale=0.5,
        ),
    )
    init_from = "softmax"
    required_init_tensors = ("weight",)
    batch_dependence = "gathered"
    HParams = IEMHParams
    hparams: IEMHParams
    network: MemoryNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with attention and an empty memory."""
        return MemoryNetwork(spec, self.hparams)

    def update_statistics(self, batch: Batch) -> None:
        """Write a batch's queries."""
        queries = self.network.queries(self.network.features(batch.images))
        self.network.memory.write(queries, batch.labels)

    def lr_scale(self, parameter: str) -> float:
        """Return a parameter's learning rate, relative to the recipe's."""
        return self.hparams.feature_lr if parameter.startswith(BACKBONE) else 1.0

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of classifier and memory; write the queries."""
        features = self.network.features(batch.images)
        queries = self.network.queries(features)
        memory = self.network.memory
        losses = {
            "classes": cross_entropy(self.network.classifier(features), batch.labels),
            "memory": self.hparams.memory_weight * cross_entropy(memory(queries), batch.labels),
        }
        memory.write(gather(queries), gather(batch.labels))
        return losses

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return log-probabilities: the mean of classifier's and memory's."""
        features = self.network.features(images)
        logits = self.network.classifier(features)
        of_classes = at_least_float32(logits).log_softmax(dim=1)
        of_memory = self.network.memory(self.network.queries(features))
        return torch.stack([of_classes, of_memory]).logsumexp(dim=0) - math.log(2)
