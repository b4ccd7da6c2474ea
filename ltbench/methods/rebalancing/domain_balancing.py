"""Domain balancing: margins and residual features by distances to neighboring classes.

Cao, Zhu, Huang, Guo, Lei, "Domain Balancing: Face Recognition on Long-Tailed Domains", CVPR 2020
(arXiv:2003.13791), section 3.

    IC_c = log sum_k exp(s cos(w_k, w_c)), over the K nearest classes                  implemented
    domain frequency indicator beta_c = epsilon / IC_c: `epsilon`                      implemented
    features x + g(x) R(x), R two linear layers and a normalization                    implemented
    |g(x) - beta_y|^2, weight 0.01, beta of the step before and constant               implemented
    cosine margin beta_y m of the label                                                implemented
    a test by distances between features                                               left out

A class whose neighbors are far is likely of a rare domain; counts are not used. With few classes
that lie apart IC is near 0 or below it, and epsilon / IC is without meaning. By default indicators
are therefore ours: s is 4 (16 with more than 200 classes; the paper has that of the logits), K at
most half of the classes (100 in the paper), IC at least 1, 1 / IC is divided by its mean over
classes, so that m keeps its meaning, and is at most 3.

Also ours, as the paper does not tell them or is of faces: a ReLU in R, a gate that is a linear
layer, equal margins in the first tenth of the epochs, a scale of 30 and a prediction by the cosine
classifier, with residual features. The margin is CosFace's 0.35.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.core.autocast import at_least_float32, no_autocast, unit_rows
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import as_constant
from ltbench.losses.vector_scaling import vector_scaling
from ltbench.methods.contract import LATER, Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.projection import projection

LEAST_COMPACTNESS = 1.0
LARGEST_INDICATOR = 3.0


def compactness(weight: Tensor, neighbors: int, scale: float) -> Tensor:
    """Return how near each class's neighbors are, as a log-sum-exp.

    Args:
        weight: [C, D], of the classes.
        neighbors: nearest other classes that count (K), at most C - 1.
        scale: factor of the cosines (s).

    Returns:
        [C].
    """
    directions = unit_rows(weight.detach())
    with no_autocast(directions):
        cosines = directions @ directions.T
    itself = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
    nearest = cosines.masked_fill(itself, -torch.inf).topk(neighbors, dim=1).values
    return (scale * nearest).logsumexp(dim=1)


def indicators(compactness: Tensor, epsilon: float | None = None) -> Tensor:
    """Return domain frequency indicators (beta), large where neighbors are far.

    Args:
        compactness: [C].
        epsilon: the paper's numerator; None for indicators of mean 1 before their bound.

    Returns:
        [C].
    """
    if epsilon is not None:
        return epsilon / compactness
    inverse = 1 / torch.where(compactness > LEAST_COMPACTNESS, compactness, LEAST_COMPACTNESS)
    relative = inverse / inverse.mean()
    return torch.where(relative < LARGEST_INDICATOR, relative, LARGEST_INDICATOR)


class ResidualBalancing(nn.Module):
    """Features with a gated residual.

    Features [B, D] -> features [B, D] and gates [B].

    Args:
        width: D.
        norm: of the residual's hidden layer.
    """

    def __init__(self, width: int, norm: Literal["batch", "group"]) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 1)
        self.residual = projection(width, width, norm)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return balanced features and gates."""
        gates = self.gate(features)  # [B, 1]
        return features + gates * self.residual(features), gates[:, 0]


class BalancedNetwork(Network):
    """A network with residual balancing before its classifier, or without."""

    def __init__(
        self, backbone: nn.Module, balancing: nn.Module | None, classifier: nn.Module
    ) -> None:
        super().__init__(backbone, classifier)
        self.balancing = balancing

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images or cached features."""
        return self.with_gates(images)[0]

    def with_gates(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits [B, classes] and gates [B]; None without residuals."""
        features, gates = self.features(images), None
        if self.balancing is not None:
            features, gates = self.balancing(features)
        return self.classifier(features), gates


class DomainBalancingHParams(HParams):
    """Hyper-parameters of domain balancing."""

    margin: float = Field(0.35, ge=0, description="of the label's cosine where beta is 1 (m)")
    scale: float = Field(30.0, gt=0, description="factor of the cosines in logits")
    neighbors: int = Field(
        100, ge=1, description="nearest classes of an indicator, at most half of all (K)"
    )
    indicator_scale: float = Field(4.0, gt=0, description="factor of the cosines in indicators")
    epsilon: float | None = Field(
        None, gt=0, description="numerator of the paper's indicators; None for a mean of 1"
    )
    residual: bool = Field(
        True,
        description="whether features have gated residuals; else margins alone",
        json_schema_extra=LATER,
    )
    weight: float = Field(
        0.01,
        ge=0,
        description="of the loss of the gate (lambda)",
        json_schema_extra={"only_with": {"residual": True}},
    )
    warm_up: float = Field(0.1, ge=0, le=1, description="share of the epochs with equal margins")


class DomainBalancing(Method):
    """Cosine margin loss with margins by the distance of a class's neighbors."""

    title = "Domain balancing"
    paper = Paper(
        title="Domain Balancing: Face Recognition on Long-Tailed Domains",
        authors="Dong Cao, Xiangyu Zhu, Xingyu Huang, Jianzhu Guo, Zhen Lei",
        venue="CVPR",
        year=2020,
        arxiv="2003.13791",
    )
    category = "re-margining"
    version = 2
    HParams = DomainBalancingHParams
    hparams: DomainBalancingHParams
    network: BalancedNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with residual balancing and a cosine classifier."""
        backbone, width = build_backbone(spec)
        classifier = CosineClassifier(width, spec.classes, self.hparams.scale)
        balancing = ResidualBalancing(width, spec.norm) if self.hparams.residual else None
        return BalancedNetwork(backbone, balancing, classifier)

    def indicators(self) -> Tensor:
        """Return the indicators [C] of the classes, 1 at first."""
        hparams, weight = self.hparams, self.network.get_parameter("classifier.weight")
        if self.progress.fraction < hparams.warm_up:
            return torch.ones_like(weight[:, 0])
        neighbors = max(1, min(hparams.neighbors, len(weight) // 2))
        return indicators(compactness(weight, neighbors, hparams.indicator_scale), hparams.epsilon)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the margin loss, and that of the gates."""
        hparams, beta = self.hparams, self.indicators()
        logits, gates = self.network.with_gates(batch.images)
        loss = vector_scaling(
            logits / hparams.scale, batch.labels, margins=hparams.margin * beta, scale=hparams.scale
        )
        if gates is None:
            return loss
        missed = at_least_float32(gates) - as_constant(beta[batch.labels], gates)
        return {"classes": loss, "gates": hparams.weight * global_mean(missed.square())}
