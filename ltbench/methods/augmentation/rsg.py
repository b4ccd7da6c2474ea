"""RSG: new samples of tail classes from how samples of head classes deviate from their centres.

Wang, Lukasiewicz, Hu, Cai, Xu, "RSG: A Simple but Effective Module for Learning Imbalanced
Datasets", CVPR 2021 (arXiv:2106.09859).

    gamma: softmax over the K centres of a map's class                               implemented
    L_CESC: distances to the centres, weighted by gamma                              implemented
    L_CESC, pair classifier: whether two maps are of one class                       implemented
    x_new = x_tail + T(x_head - center), appended to the batch with the tail's label implemented
    L_MV: T's result is foreign to the head, as long as the deviation, along the tail's implemented
    L = L_cls + 0.1 L_CESC + 0.01 L_MV, with LDAM-DRW as L_cls                        implemented

The generator sits before the last stage (networks/rare_samples.py) and sends no gradient below it.
As in the authors' code the pair classifier learns, from the two halves of a batch, until the
deferred switches turn on, and is fixed when maps begin to be generated; head classes are the
largest fifth. Off CIFAR the authors defer sampling instead of weights and have smaller margins.

Pairs come from the global batch, and ranks share them. The test is that of LDAM.
"""

from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.distributed import gather, global_mean, rank, world_size
from ltbench.methods.contract import Batch, Loss, Paper
from ltbench.methods.rebalancing.ldam_drw import LDAMDRW, LDAMDRWHParams
from ltbench.networks import NetworkSpec
from ltbench.networks.rare_samples import RareSampleNetwork, pair_heads_with_tails


class RSGHParams(LDAMDRWHParams):
    """Hyper-parameters of RSG, and those of LDAM-DRW."""

    centres: int = Field(15, ge=1, description="centres of each class (K)")
    contrast_width: int = Field(256, ge=1, description="of the pair classifier's hidden layers")
    head_share: float = Field(0.2, gt=0, lt=1, description="share of classes that are head classes")
    strength: float = Field(
        1.0, gt=0, le=1, description="share of a batch's majority that is paired"
    )
    centre_weight: float = Field(0.1, ge=0, description="of L_CESC")
    vector_weight: float = Field(0.01, ge=0, description="of L_MV")


class RSG(LDAMDRW):
    """LDAM-DRW on a batch that late epochs extend by generated maps of tail classes."""

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
        """Return a network of cosines with a generator, and say which classes are head classes."""
        heads = max(int(spec.classes * self.hparams.head_share), 1)
        largest = self.counts.argsort(descending=True, stable=True)[:heads]
        self.head: Tensor
        is_head = torch.zeros(spec.classes, dtype=torch.bool).index_fill(0, largest, value=True)
        self.register_buffer("head", is_head, persistent=False)
        return RareSampleNetwork(spec, self.hparams.centres, self.hparams.contrast_width)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of the classes, of the centres and of what is generated."""
        hparams, generator = self.hparams, self.network.generator
        lower, upper = cast("nn.Sequential", self.network.backbone)
        maps = lower(batch.images)
        known = maps.detach().to(torch.promote_types(maps.dtype, torch.float32))
        everyone, labels = gather(known), gather(batch.labels)
        mine = slice(rank(), None, world_size())  # of the pairs of the global batch

        first, second = self.pairs_to_compare(labels)
        logits = generator.pairs(everyone[first[mine]], everyone[second[mine]])
        alike = (labels[first[mine]] == labels[second[mine]]).long()
        contrast = F.cross_entropy(logits, alike, reduction="none")

        heads, tails = self.pairs_to_generate(labels)
        sources = everyone[heads[mine]], labels[heads[mine]]
        new, vectors = generator.generate(*sources, everyone[tails[mine]], labels[tails[mine]])
        cosines = self.network.classifier(upper(torch.cat([maps, new.to(maps.dtype)])))
        return {
            "classes": self.margin_loss(cosines, torch.cat([batch.labels, labels[tails[mine]]])),
            "centres": hparams.centre_weight
            * (
                global_mean(generator.distances(known, batch.labels))
                + mean_over(contrast, len(first))
            ),
            "vectors": hparams.vector_weight * mean_over(vectors, len(heads)),
        }

    def pairs_to_compare(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions [P] in the first and second half of a global batch, none once deferred.

        Without pairs a term's parameters still get gradients, of zero, as several ranks expect.
        """
        half = 0 if self.progress.deferred else len(labels) // 2
        first = torch.arange(half, device=labels.device)
        return first, first + half

    def pairs_to_generate(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions [P] of heads and of tails in a global batch, none until deferred."""
        if not self.progress.deferred:
            return labels.new_empty(0), labels.new_empty(0)
        return pair_heads_with_tails(labels, self.head, self.hparams.strength)


def mean_over(losses: Tensor, pairs: int) -> Tensor:
    """Return the mean of losses, of which the ranks have shares, over all pairs; 0 without any."""
    return losses.sum() * world_size() / max(pairs, 1)
