"""RSG: new tail samples from deviations of head samples from their centers.

Wang, Lukasiewicz, Hu, Cai, Xu, "RSG: A Simple but Effective Module for Learning Imbalanced
Datasets", CVPR 2021 (arXiv:2106.09859).

    gamma: softmax over the K centers of a map's class                               implemented
    L_CESC: distances to the centers, weighted by gamma                              implemented
    L_CESC, pair classifier: whether two maps are of one class                       implemented
    x_new = x_tail + T(x_head - center), appended to the batch with the tail's label implemented
    L_MV: T(x_head - center) is of another class than the head, has the length of
        the head's deviation and the direction of the tail's                         implemented
    L = L_cls + 0.1 L_CESC + 0.01 L_MV, with LDAM-DRW as L_cls                        implemented

The generator is before the last stage (networks/rare_samples.py) and sends no gradient below it.
As in the authors' code the pair classifier learns, from the two halves of a batch, until the
recipe's deferred epoch; from then on it is fixed, and maps are generated; head classes are the
largest fifth. Off CIFAR the authors defer sampling instead of weights and have smaller margins.
Other losses as L_cls (`loss`), with a linear classifier, are ours.

Pairs are of the global batch, and each rank has its share of them. The test is that of LDAM.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier, linear
from ltbench.core.autocast import at_least_float32
from ltbench.core.distributed import gather, global_mean, rank, world_size
from ltbench.losses import BaseLoss, base_loss
from ltbench.methods.contract import LATER, Batch, Loss, Method, Paper
from ltbench.methods.rebalancing.ldam_drw import LDAMDRW, LDAMDRWHParams
from ltbench.networks import NetworkSpec
from ltbench.networks.rare_samples import RareSampleNetwork, pair_heads_with_tails

OF_LDAM: dict[str, Any] = {"only_with": {"loss": "ldam"}}


class RSGHParams(LDAMDRWHParams):
    """Hyper-parameters of RSG and of LDAM-DRW."""

    max_margin: float = Field(
        0.5, ge=0, description="margin of the smallest class, on cosines", json_schema_extra=OF_LDAM
    )
    scale: float = Field(
        30.0, gt=0, description="factor of the cosines (s)", json_schema_extra=OF_LDAM
    )
    beta: float = Field(
        0.9999,
        ge=0,
        lt=1,
        description="of effective-number weights, from the deferred epoch on",
        json_schema_extra={"only_with": {"loss": "ldam", "deferred": "drw"}},
    )
    centers: int = Field(15, ge=1, description="centers of each class (K)")
    contrast_width: int = Field(
        256, ge=1, description="width of the pair classifier's hidden layers"
    )
    head_share: float = Field(0.2, gt=0, lt=1, description="share of classes that are head classes")
    strength: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the larger of heads and tails in a batch that is used",
    )
    center_weight: float = Field(0.1, ge=0, description="weight of L_CESC")
    vector_weight: float = Field(0.01, ge=0, description="weight of L_MV")
    loss: BaseLoss = Field(
        "ldam",
        description="L_cls; margin and scale are those of ldam, class weights of ldam and drw",
        json_schema_extra=LATER,
    )


class RSG(LDAMDRW):
    """LDAM-DRW with generated maps of tail classes in late epochs."""

    title = "RSG"
    paper = Paper(
        title="RSG: A Simple but Effective Module for Learning Imbalanced Datasets",
        authors="Jianfeng Wang, Thomas Lukasiewicz, Xiaolin Hu, Jianfei Cai, Zhenghua Xu",
        venue="CVPR",
        year=2021,
        arxiv="2106.09859",
    )
    category = "augmentation"
    oracle = "rsg"
    HParams = RSGHParams
    hparams: RSGHParams
    network: RareSampleNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a generator; register the head classes."""
        heads = max(int(spec.classes * self.hparams.head_share), 1)
        largest = self.counts.argsort(descending=True, stable=True)[:heads]
        self.head: Tensor
        is_head = torch.zeros(spec.classes, dtype=torch.bool).index_fill(0, largest, value=True)
        self.register_buffer("head", is_head, persistent=False)
        hparams = self.hparams
        classifier = CosineClassifier if hparams.loss == "ldam" else linear
        return RareSampleNetwork(spec, classifier, hparams.centers, hparams.contrast_width)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of classes, centers and generated maps."""
        hparams, generator = self.hparams, self.network.generator
        lower, upper = cast("nn.Sequential", self.network.backbone)
        maps = lower(batch.images)
        fixed = at_least_float32(maps.detach())
        all_maps, labels = gather(fixed), gather(batch.labels)  # of the global batch
        share = slice(rank(), None, world_size())  # of its pairs

        first, second = self.pairs_to_compare(labels)
        pairs = generator.pairs(all_maps[first[share]], all_maps[second[share]])
        same = (labels[first[share]] == labels[second[share]]).long()
        contrast = F.cross_entropy(pairs, same, reduction="none")

        heads, tails = self.pairs_to_generate(labels)
        sources = all_maps[heads[share]], labels[heads[share]]
        new, vectors = generator.generate(*sources, all_maps[tails[share]], labels[tails[share]])
        logits = self.network.classifier(upper(torch.cat([maps, new.to(maps.dtype)])))
        return {
            "classes": self.class_loss(logits, torch.cat([batch.labels, labels[tails[share]]])),
            "centers": hparams.center_weight
            * (
                global_mean(generator.distances(fixed, batch.labels))
                + mean_over(contrast, len(first))
            ),
            "vectors": hparams.vector_weight * mean_over(vectors, len(heads)),
        }

    def class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return L_cls of logits [B, C], cosines for LDAM, with labels [B]."""
        name, deferred = self.hparams.loss, self.switched_on("drw")
        if name == "ldam":
            return self.margin_loss(logits, labels)
        return base_loss(name, logits, labels, self.counts, deferred=deferred)

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return logits [B, classes] of images."""
        if self.hparams.loss == "ldam":
            return super().predict(images, target_prior)
        return Method.predict(self, images, target_prior)

    def pairs_to_compare(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs of maps for the pair classifier.

        There are none from the deferred epoch on. The classifier's parameters then get gradients of
        zero, which DDP needs.

        Args:
            labels: of the global batch.

        Returns:
            Positions [P] in its first and in its second half.
        """
        half = 0 if self.progress.deferred else len(labels) // 2
        first = torch.arange(half, device=labels.device)
        return first, first + half

    def pairs_to_generate(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs of heads and tails for new maps.

        There are none before the deferred epoch.

        Args:
            labels: of the global batch.

        Returns:
            Positions [P] of heads and of tails.
        """
        if not self.progress.deferred:
            return labels.new_empty(0), labels.new_empty(0)
        return pair_heads_with_tails(labels, self.head, self.hparams.strength)


def mean_over(losses: Tensor, pairs: int) -> Tensor:
    """Return the mean over the pairs of all ranks, with its gradient.

    Args:
        losses: of this rank's pairs; the mean over ranks of the result is that of all pairs.
        pairs: of all ranks; without any the mean is 0.
    """
    return losses.sum() * world_size() / max(pairs, 1)
