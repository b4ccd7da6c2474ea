"""Deep ensemble: the mean prediction of networks trained from different seeds.

Lakshminarayanan, Pritzel, Blundell, "Simple and Scalable Predictive Uncertainty Estimation using
Deep Ensembles", NeurIPS 2017 (arXiv:1612.01474).

    p(y | x) = 1/M sum_m p_m(y | x)          (section 2.4)   implemented, of M = 3
    members: the same network and images, other initial weights and orders       implemented
    adversarial training of the members      (section 2.3)   left out: it is optional there

An ensemble method of long-tailed learning trains several experts or branches. This is what the same
number of plain networks reaches. The members are jobs of their own, which the ensemble shares with
the grid's rows of their methods: an ensemble of seed s has members of seeds 3s, 3s + 1 and 3s + 2,
so that no two ensembles share one. The ensemble itself trains nothing; its cost is that of its
members.
"""

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ltbench.core.autocast import at_least_float32
from ltbench.methods.contract import Method, NetworkSpec, Paper, Stage, Teacher, TrainedTeacher
from ltbench.methods.rebalancing.softmax import Softmax

MEMBERS = 3


def members_of(method: str) -> tuple[Teacher, ...]:
    """Return the members of an ensemble, each with seeds of its own."""
    return tuple(Teacher(method, seed_scale=MEMBERS, seed_offset=m) for m in range(MEMBERS))


class MeanPrediction(nn.Module):
    """The logarithm of the members' mean class probabilities."""

    def __init__(self, members: Iterable[Method]) -> None:
        """Set the members."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return log probabilities [B, classes] of images [B, C, H, W]."""
        predictions = [cast("Method", member).predict(images) for member in self.members]
        logits = torch.stack(predictions)  # [M, B, classes]
        logs = at_least_float32(logits).log_softmax(dim=2)
        return logs.logsumexp(dim=0) - math.log(len(predictions))


class SoftmaxEnsemble(Method):
    """Three networks of softmax that predict by the mean of their probabilities."""

    title = "Softmax ensemble"
    paper = Paper(
        title="Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
        authors="Balaji Lakshminarayanan, Alexander Pritzel, Charles Blundell",
        venue="NeurIPS",
        year=2017,
        arxiv="1612.01474",
    )
    category = "ensemble"
    version = 2
    stages = (Stage("ensemble", is_trained=False),)
    teachers = members_of("softmax")
    member: ClassVar[type[Method]] = Softmax
    network: MeanPrediction

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the members under their mean prediction."""
        return MeanPrediction(self.member(spec, self.counts) for _ in self.teachers)

    def load_teachers(self, teachers: Sequence[TrainedTeacher]) -> None:
        """Load the weights of the members."""
        for member, trained in zip(self.network.members, teachers, strict=True):
            member.load_state_dict(trained.weights)
