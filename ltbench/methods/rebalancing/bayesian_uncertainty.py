"""Bayesian uncertainty margins, our reading: of classes and of images.

Those of classes are in angles, those of images in variances.

Khan, Hayat, Zamir, Shen, Shao, "Striking the Right Balance with Uncertainty", CVPR 2019
(arXiv:1901.07590).

    margin of a class that grows with its uncertainty                           our reading
    boundaries that respect the second moment of an image's feature             our reading
    uncertainty by Monte Carlo dropout                                          our reading

Our reading: the abstract, a figure and notes by others were at hand, the equations and the code
were not. Every formula and number below is ours; what is printed of it says nothing about the
paper, and is compared with no number of it or of the survey.

    dropout of rate 1/2 on features, plain cross-entropy, in the first 60 % of the epochs
    uncertainty of an image: variance of its probabilities under 20 dropout masks, mean over
      classes; of a class: mean of its images over the largest class mean, every five epochs
    margin factor m = 1 + (m_max - 1) U_y, reached within a fortieth of the epochs
    logit of the label |w_y| |f| psi(theta_y; m), psi the large-margin softmax of real m
    logits of others z_j + kappa sigma_j, sigma_j^2 = (w_j - w_y)^T S (w_j - w_y), S the variance
      f^2 r / (1 - r) of the feature under dropout

Features have no dropout once their variance is in the logits. Variances and uncertainties are
constants. Masks are the same for all images of a pass. Predictions have no dropout and no margins,
and the classifier has no bias.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.autocast import at_least_float32, no_autocast
from ltbench.losses import cross_entropy
from ltbench.losses.counts import as_constant, or_one
from ltbench.losses.finite_gradients import angles, root
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Progress, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.class_statistics import ClassMeans

Form = Literal["deviation", "half_variance"]


def large_margin(cosines: Tensor, factors: Tensor) -> Tensor:
    """Return psi, the large-margin cosines of m times the angle.

    psi = (-1)^k cos(m theta) - 2 k, k = floor(m theta / pi).

    It falls with the angle, and is the cosine where the factor is 1.

    Args:
        cosines: of any shape.
        factors: m, of that shape, at least 1.
    """
    turned = factors * angles(cosines)
    k = (turned.detach() / math.pi).floor()
    sign = 1 - 2 * (k % 2)
    return torch.where(factors == 1, cosines, sign * turned.cos() - 2 * k)


def deviations(weight: Tensor, variances: Tensor, labels: Tensor) -> Tensor:
    """Return the variances [B, C] of logits less the label's.

    Args:
        weight: [C, D], of the classes.
        variances: [B, D], of features.
        labels: [B], int64.
    """
    own = weight[labels]  # [B, D]
    with no_autocast(weight):
        squares = variances @ weight.square().T - 2 * (variances * own) @ weight.T
    squares = F.relu(squares + (variances * own.square()).sum(dim=1, keepdim=True))
    return squares.scatter(1, labels[:, None], 0.0)


def uncertain_logits(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    variances: Tensor,
    factors: Tensor,
    quantile: float,
    form: Form = "deviation",
) -> Tensor:
    """Return logits [B, C] with the margins of classes and images.

    Args:
        features: [B, D].
        weight: [C, D], of a classifier without bias.
        labels: [B], int64.
        variances: [B, D], of features.
        factors: [C], of the angle of the label.
        quantile: factor of the deviations (kappa).
        form: whether deviations are added to other logits, or half of their squares.
    """
    lengths = or_one(features.norm(dim=1) * weight[labels].norm(dim=1))  # [B]
    with no_autocast(features):
        logits = features @ weight.T
    cosines = logits.gather(1, labels[:, None])[:, 0] / lengths
    of_label = lengths * large_margin(cosines, factors[labels])
    squares = deviations(weight, variances, labels)
    spread = squares / 2 if form == "half_variance" else root(squares)
    return (logits + quantile * spread).scatter(1, labels[:, None], of_label[:, None])


class BayesianUncertaintyHParams(HParams):
    """Hyper-parameters of margins by uncertainty, all of them ours."""

    rate: float = Field(0.5, gt=0, lt=1, description="of dropout on features")
    passes: int = Field(20, ge=2, description="dropout masks of an uncertainty")
    max_factor: float = Field(
        1.5, ge=1, description="factor of the angle of the most uncertain class (m_max)"
    )
    quantile: float = Field(1.0, ge=0, description="factor of the deviations of images (kappa)")
    form: Form = Field(
        "deviation", description="whether deviations are added to logits, or half their squares"
    )
    start: float = Field(0.6, ge=0, le=1, description="share of the epochs before margins")
    rise: float = Field(
        0.025, ge=0, le=1, description="share of the epochs in which margins rise to their size"
    )
    refresh: int = Field(5, ge=1, description="epochs between two measurements of uncertainty")


class BayesianUncertainty(Method):
    """Large-margin softmax with margins by uncertainty (our reading)."""

    title = "Bayesian uncertainty margins"
    paper = Paper(
        title="Striking the Right Balance with Uncertainty",
        authors="Salman Khan, Munawar Hayat, Syed Waqas Zamir, Jianbing Shen, Ling Shao",
        venue="CVPR",
        year=2019,
        arxiv="1901.07590",
    )
    category = "re-margining"
    version = 3
    own_reading = True
    # A statistics pass in one of five epochs of the last 40 %, less the first.
    stages = (Stage("train", needs_statistics_pass=True, forward_passes=0.06),)
    HParams = BayesianUncertaintyHParams
    hparams: BayesianUncertaintyHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network whose classifier has no bias; register the classes' uncertainties."""
        backbone, width = build_backbone(spec)
        self.uncertainties: Tensor  # [C], relative to the largest
        self.masks: Tensor  # [T, D], zeros and 1 / (1 - rate)
        self.register_buffer("uncertainties", torch.zeros(spec.classes, dtype=torch.float64))
        self.register_buffer("masks", torch.zeros(self.hparams.passes, width), persistent=False)
        self.means = ClassMeans(spec.classes)
        return Network(backbone, nn.Linear(width, spec.classes, bias=False))

    @property
    def first(self) -> int:
        """The first epoch with margins."""
        return math.ceil(self.hparams.start * self.progress.epochs - 1e-9)

    def on_epoch_start(self, progress: Progress) -> None:  # noqa: ARG002
        """Draw the masks of a measurement."""
        if self.needs_statistics_now():
            self.masks.copy_(self.dropout(self.rng.shared(*self.masks.shape)))

    def needs_statistics_now(self) -> bool:
        """Return whether the uncertainties are measured before this epoch."""
        late = self.progress.epoch - self.first
        return late >= 0 and late % self.hparams.refresh == 0

    def update_statistics(self, batch: Batch) -> None:
        """Add the uncertainties of images."""
        features = self.network.features(batch.images)
        features = at_least_float32(features)
        weight = as_constant(self.network.get_parameter("classifier.weight"), features)
        with no_autocast(features):
            logits = [(features * mask.to(features.dtype)) @ weight.T for mask in self.masks]
        probabilities = torch.stack(logits).softmax(dim=2)  # [T, B, C]
        variances = probabilities.double().var(dim=0, correction=0).mean(dim=1)  # [B]
        self.means.add(variances[:, None], batch.labels)

    def finalize_statistics(self) -> None:
        """Set the uncertainties of the classes."""
        means = self.means.means()[:, 0]
        self.uncertainties.copy_(means / or_one(means.max()))
        self.means = ClassMeans(self.spec.classes)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy, with dropout at first and with margins later."""
        hparams = self.hparams
        features = self.network.features(batch.images)
        if self.progress.epoch < self.first:
            kept = self.dropout(self.rng.uniform(features, features.shape[1]))
            dropped = features * kept.to(features.dtype)
            return cross_entropy(self.network.classifier(dropped), batch.labels)
        features = at_least_float32(features)
        weight = as_constant(self.network.get_parameter("classifier.weight"), features)
        variances = features.detach().square() * (hparams.rate / (1 - hparams.rate))
        logits = uncertain_logits(
            features,
            weight,
            batch.labels,
            variances,
            as_constant(self.factors(), features),
            hparams.quantile,
            hparams.form,
        )
        return cross_entropy(logits, batch.labels)

    def factors(self) -> Tensor:
        """Return the factors [C] of the classes' angles in this epoch, float64."""
        late = self.progress.epoch - self.first + 1
        rise = max(1.0, self.hparams.rise * self.progress.epochs)
        largest = (self.hparams.max_factor - 1) * min(1.0, late / rise)
        return 1 + largest * self.uncertainties

    def dropout(self, numbers: Tensor) -> Tensor:
        """Return dropout factors of features, by uniform numbers."""
        return (numbers >= self.hparams.rate) / (1 - self.hparams.rate)
