"""ACE: experts of all, of medium and few-shot, and of few-shot classes.

Cai, Wang, Hwang, "ACE: Ally Complementary Experts for Solving Long-Tailed Recognition in One-Shot",
ICCV 2021 (arXiv:2108.02385).

    L_i = CE(z_i, y) + sum_(c not in T_i) z_ic^2, on samples of expert i's classes T_i   implemented
    L_1 trains trunk and expert 1, L_i expert i alone                                    implemented
    learning rate of expert i: that of the recipe, times the share of T_i in the images  implemented
    test: mean over the experts of a class of (|W_1|^2 / |W_i|^2) z_i                    implemented

Neither the paper's text nor the authors' code was at hand: formulas are those of summaries and of a
re-implementation by others. Where ours is not theirs, or may not be: there are three experts, of
all, of medium and few-shot, and of few-shot classes; cross-entropy is over all classes; |W_i|^2 is
the mean of the squared lengths of the expert's own rows of weights, as its other rows are pushed to
0; classifiers have no biases. Groups are thirds of the classes in order of size, also of classes of
equal sizes. An expert takes the samples of its classes from the whole batch by a mask, so that
BatchNorm sees all of them. Experts share the first stages of the backbone, as those of RIDE. Epochs
are the recipe's.

An expert never sees images of other classes, and nothing but the scale of its logits keeps few-shot
classes from taking these images. So |W_i|^2, and the squares as a sum over classes, decide between
classes with many and with few images.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.losses import complementary_experts, fused_logits, nested_groups
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec
from ltbench.networks.multi_expert import ExpertClassifiers, build_experts

EXPERTS = 3


class ACEHParams(HParams):
    """Hyper-parameters of ACE."""

    medium_from: float = Field(
        1 / 3, ge=0, le=1, description="share of many-shot classes, in order of size"
    )
    few_from: float = Field(
        2 / 3,
        ge=0,
        le=1,
        json_schema_extra={"at_least": "medium_from"},
        description="share of many- and medium-shot classes, in order of size",
    )
    complementary: float = Field(
        1.0, ge=0, description="weight of the squares of logits of classes that are not an expert's"
    )
    adaptive_lr: bool = Field(
        True, description="whether an expert's learning rate is that of its share of the images"
    )
    norm_power: float = Field(
        2.0, ge=0, description="power of the norms of class weights that experts are divided by"
    )


class ACE(Method):
    """Experts of nested groups of classes on one trunk."""

    title = "ACE"
    paper = Paper(
        title="ACE: Ally Complementary Experts for Solving Long-Tailed Recognition in One-Shot",
        authors="Jiarui Cai, Yizhou Wang, Jenq-Neng Hwang",
        venue="ICCV",
        year=2021,
        arxiv="2108.02385",
    )
    category = "ensemble"
    batch_dependence = "gathered"
    HParams = ACEHParams
    hparams: ACEHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return experts, of which the first alone trains the trunk."""
        self.groups: Tensor
        groups = nested_groups(self.counts, self.hparams.medium_from, self.hparams.few_from)
        self.register_buffer("groups", groups, persistent=False)
        backbone = build_experts(spec, EXPERTS, reduced=False)
        backbone.detached = True
        classifiers = (nn.Linear(backbone.width, spec.classes, bias=False) for _ in range(EXPERTS))
        return Network(backbone, ExpertClassifiers(classifiers))

    def lr_scale(self, parameter: str) -> float:
        """Return a parameter's learning rate, relative to the recipe's.

        That of an expert is the share of its classes in the training images.
        """
        return self.rates[expert_of(parameter)] if self.hparams.adaptive_lr else 1.0

    @property
    def rates(self) -> list[float]:
        """Share of each expert's classes in the training images, [E]."""
        images = (self.groups * self.counts).sum(dim=1) / self.counts.sum()
        return [float(share) for share in images]

    def training_loss(self, batch: Batch) -> Loss:
        """Return the experts' losses."""
        losses = complementary_experts(self.network(batch.images), batch.labels, self.groups)
        return losses | {"complementary": self.hparams.complementary * losses["complementary"]}

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return the fused logits [B, classes]."""
        logits = super().predict(images, target_prior)  # [E, B, C]
        weights = torch.stack([cast("nn.Linear", each).weight for each in self.classifiers])
        norms = torch.linalg.vector_norm(weights, dim=2) ** self.hparams.norm_power  # [E, C]
        return fused_logits(logits, norms, self.groups)

    @property
    def classifiers(self) -> ExpertClassifiers:
        """The experts' classifiers."""
        return cast("ExpertClassifiers", self.network.classifier)


def expert_of(parameter: str) -> int:
    """Return a parameter's expert; the trunk is the first one's."""
    for prefix in ("network.backbone.experts.", "network.classifier."):
        if parameter.startswith(prefix):
            return int(parameter.removeprefix(prefix).split(".")[0])
    return 0
