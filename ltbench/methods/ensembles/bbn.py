"""BBN, the bilateral-branch network: a branch each for ordinary and reversed sampling.

Zhou, Cui, Wei, Chen, "BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual
Recognition", CVPR 2020 (arXiv:1912.02413).

    z = alpha W_c^T f_c + (1 - alpha) W_r^T f_r                               (1)    implemented
    L = alpha E(p, y_c) + (1 - alpha) E(p, y_r)                               (3)    implemented
    reversed sampler, P_i ~ N_max / N_i                                       (4)    implemented
    alpha = 1 - (T / T_max)^2                                                 (5)    implemented
    test with alpha = 0.5                                                            implemented

f_c are the conventional branch's features of a batch of the ordinary sampler, f_r the re-balancing
branch's features of a batch of the reversed sampler; W_c and W_r are one linear layer with a single
bias. Where paper and code differ, ours is the code: both features are doubled in training and not
in the test; T counts epochs from 0; T_max is the number of epochs, except in the authors' schedules
of 90 and 180 epochs on iNaturalist, where it is 100 and 200 (`horizon: 1.1111` in a grid).

The branches share all but the last block. On timm's ResNets and ResNeXts and the CIFAR ResNets this
is the authors' network. On ConvNeXts each branch has its own last stage; other backbones are shared
as a whole, and the branches differ only in their half of the linear layer.
"""

from collections.abc import Mapping
from typing import cast

import torch
from pydantic import Field
from torch import nn

from ltbench.classifiers import linear
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec
from ltbench.networks.multi_expert import Branches, build_branches


class BBNHParams(HParams):
    """Hyper-parameters of BBN."""

    horizon: float = Field(
        1.0, ge=1, description="T_max as a multiple of the epochs: alpha ends at 1 - horizon^-2"
    )


class BBN(Method):
    """Two branches on batches of two samplers, weighted by epoch."""

    title = "BBN"
    paper = Paper(
        title="BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed "
        "Visual Recognition",
        authors="Boyan Zhou, Quan Cui, Xiu-Shen Wei, Zhao-Min Chen",
        venue="CVPR",
        year=2020,
        arxiv="1912.02413",
    )
    category = "ensemble"
    stages = (Stage("train", samplers=("instance", "reversed"), passes=0.94),)  # a branch each
    oracle = "bbn"
    HParams = BBNHParams
    hparams: BBNHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return two branches on a shared trunk with one classifier."""
        backbone = build_branches(spec, 2)
        return Network(backbone, linear(2 * backbone.width, spec.classes))

    @property
    def alpha(self) -> float:
        """Weight of the conventional branch in this epoch."""
        return 1 - (self.progress.fraction / self.hparams.horizon) ** 2

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        """Return the weighted cross-entropies of the mixed logits."""
        backbone = cast("Branches", self.network.backbone)
        ordinary, reverse, alpha = batch["instance"], batch["reversed"], self.alpha
        conventional = backbone.features_of(0, ordinary.images)  # [B, D]
        rebalancing = backbone.features_of(1, reverse.images)  # [B, D]
        mixed = torch.cat([2 * alpha * conventional, 2 * (1 - alpha) * rebalancing], dim=1)
        logits = self.network.classifier(mixed)
        return {
            "conventional": alpha * cross_entropy(logits, ordinary.labels),
            "rebalancing": (1 - alpha) * cross_entropy(logits, reverse.labels),
        }
