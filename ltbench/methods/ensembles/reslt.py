"""ResLT: a sum of branches, each for fewer and smaller classes.

They are for all, for medium and few-shot, and for few-shot classes.

Cui, Liu, Tian, Zhong, Jia, "ResLT: Residual Learning for Long-tailed Recognition", TPAMI 2022
(arXiv:2101.10633).

    L_fce = J(N_h(X) + N_m(X) + N_t(X), Y)                          implemented
    L_ice = J(N_h(X), Y) + J(N_m(S_m), Y) + J(N_t(S_t), Y)          implemented
    L = (1 - beta) L_fce + beta L_ice                               implemented

S_m are the samples of medium and few-shot classes, S_t those of few-shot classes. As in the code of
the authors L_ice is one mean over all pairs of a branch and a sample of its classes, and 1e-7 is
added inside its logarithm. Their code lists the classes of S_m and S_t by index; here they are
shares of the classes in order of size. The classifier is shared.

Network: on CIFAR ResNets and FastNets a branch is a normalization before the pooling, as in the
code for CIFAR (the paper draws a 1x1 convolution). Elsewhere it is a 1x1 convolution with
normalization and ReLU, before the pooling in training and after it in the test; the classifier has
no bias, and in the test its weights are divided by a power `gamma` of their norms, as in the
authors' ImageNet code. On backbones other than these, ResNets, ResNeXts and ConvNeXts the branches
follow the pooling.
Left out: the two branches of their iNaturalist network, and label smoothing.
"""

from typing import cast

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import tau_normalized
from ltbench.losses import branch_loss, cross_entropy, nested_groups
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec
from ltbench.networks.residual_branches import build_residual_branches


class ResLTHParams(HParams):
    """Hyper-parameters of ResLT; defaults of CIFAR-100-LT, ratio 100."""

    beta: float = Field(0.995, ge=0, le=1, description="weight of the branches' own losses")
    medium_from: float = Field(
        0.35, ge=0, le=1, description="share of many-shot classes, in order of size"
    )
    few_from: float = Field(
        0.7,
        ge=0,
        le=1,
        json_schema_extra={"at_least": "medium_from"},
        description="share of many- and medium-shot classes, in order of size",
    )
    gamma: float = Field(
        0.0, ge=0, description="power of their norms that class weights are divided by in the test"
    )


class ResLT(Method):
    """Three branches on one backbone; smaller classes train more of them."""

    title = "ResLT"
    paper = Paper(
        title="ResLT: Residual Learning for Long-tailed Recognition",
        authors="Jiequan Cui, Shu Liu, Zhuotao Tian, Zhisheng Zhong, Jiaya Jia",
        venue="TPAMI",
        year=2022,
        arxiv="2101.10633",
    )
    category = "ensemble"
    version = 2
    batch_dependence = "gathered"
    oracle = "reslt"
    HParams = ResLTHParams
    hparams: ResLTHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return three branches and their classifier."""
        hparams = self.hparams
        self.groups: Tensor
        groups = nested_groups(self.counts, hparams.medium_from, hparams.few_from)
        self.register_buffer("groups", groups, persistent=False)
        return build_residual_branches(spec, len(groups))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of the sum and of the branches."""
        logits, beta = self.network(batch.images), self.hparams.beta  # [3, B, C]
        return {
            "fused": (1 - beta) * cross_entropy(logits.sum(dim=0), batch.labels),
            "branches": beta * branch_loss(logits, batch.labels, self.groups),
        }

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the sum of the branches' logits [B, classes]."""
        classifier = cast("nn.Linear", self.network.classifier)
        weight = tau_normalized(classifier.weight, self.hparams.gamma)
        return F.linear(self.network.features(images), weight, classifier.bias).sum(dim=0)
