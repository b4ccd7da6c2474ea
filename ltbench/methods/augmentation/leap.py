"""LEAP: clouds of features around images of classes with little angular variance.

Liu, Sun, Han, Dou, Li, "Deep Representation Learning on Long-tailed Data: A Learnable Embedding
Augmentation Perspective", CVPR 2020 (arXiv:2002.10826), section 3.

    class centers c <- 0.9 c_batch + 0.1 c                                           implemented
    angles between features and centers, a memory of P for each image                implemented
    sigma^2 = sum_i (K_i - 1) sigma_i^2 / sum_i (K_i - 1), of all classes            implemented
    clouds of variance sigma^2 - sigma_i^2 where sigma_i is smaller                  implemented
    logits s (cos(theta_y + alpha_y) - m), s cos(theta_j + alpha_j): CosFace         implemented
    logits s cos(theta_y + alpha_y + m), s cos(theta_j + alpha_j): ArcFace           implemented
    a split into head and tail, the variance of the head for the tail                left out

The paper prints alpha_y in all columns, and has alpha in R^(1 x C); an alpha for each column is our
reading (a common one lowers the loss). Angles are bounded to [0, pi]. Variances are unbiased, and 0
for classes with fewer than two stored angles; sigma^2 is computed at each epoch's start. Angles are
those to the centers after a batch. A class with few images in a batch has its center near them: the
angle of a single image is near 0, that of one of two half the angle between them. Small classes
have both kinds of batches, so that their angles can vary most and they get no cloud. With a smaller
`center_share` centers are slower.

Where ours is not theirs: the paper is of faces and persons, tested by distances between images of
unknown classes; ours predicts by the cosine classifier. P is 2, s is 16 (30 with more than 200
classes) and clouds begin after half of the epochs, all of which are ours; the paper has s from 16
to 64 and margins from 0.2 to 0.5.
"""

import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.losses import cross_entropy
from ltbench.losses.counts import as_constant, or_one
from ltbench.losses.finite_gradients import angles
from ltbench.methods.contract import LATER, Batch, HParams, Loss, Method, Paper, Progress
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.class_statistics import ClassMemory, ClassMoments

Form = Literal["cosface", "arcface"]


def cloud_logits(
    cosines: Tensor, labels: Tensor, clouds: Tensor, scale: float, margin: float, form: Form
) -> Tensor:
    """Return logits of points in clouds around features.

    Args:
        cosines: [B, C], of features and classes.
        labels: [B], int64.
        clouds: [B, C], angles that are added; zero where there is no cloud.
        scale: factor of the cosines (s).
        margin: of the label's cosine (CosFace) or angle (ArcFace).
        form: of the margin.
    """
    at_label = torch.zeros_like(cosines).scatter(1, labels[:, None], margin)
    turned = clouds + at_label if form == "arcface" else clouds
    angle = angles(cosines) + turned
    inside = (angle > 0) & (angle < math.pi)
    ends = torch.where(angle > 0, -torch.ones_like(angle), torch.ones_like(angle))
    moved = torch.where(inside, angle, torch.zeros_like(angle)).cos()
    moved = torch.where(inside, moved, ends)
    moved = torch.where(turned == 0, cosines, moved)
    return scale * (moved - at_label if form == "cosface" else moved)


def cloud_variances(variances: Tensor, counts: Tensor) -> Tensor:
    """Return what each class's variance lacks to that of all.

    Args:
        variances: [C].
        counts: [C], training images per class.

    Returns:
        [C] float64; 0 where no class has two images.
    """
    weights = counts.double() - 1
    whole = (weights * variances).sum() / or_one(weights.sum())
    return torch.relu(whole - variances)


class LEAPHParams(HParams):
    """Hyper-parameters of LEAP."""

    form: Form = Field("cosface", description="margin of the label's cosine, or of its angle")
    scale: float = Field(16.0, gt=0, description="factor of the cosines (s)")
    margin: float = Field(0.2, ge=0, description="margin of the label (m)")
    repeats: int = Field(2, ge=1, description="angles kept of each training image (P)")
    start: float = Field(0.5, ge=0, le=1, description="share of the epochs before clouds")
    center_share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="weight of a batch's mean in the center of a class (1 - gamma)",
        json_schema_extra=LATER,
    )


class LEAP(Method):
    """Margin loss on cosines, with clouds around classes of small angular variance."""

    title = "LEAP"
    paper = Paper(
        title="Deep Representation Learning on Long-tailed Data: A Learnable Embedding "
        "Augmentation Perspective",
        authors="Jialun Liu, Yifan Sun, Chuchu Han, Zhaopeng Dou, Wenhui Li",
        venue="CVPR",
        year=2020,
        arxiv="2002.10826",
    )
    category = "transfer"
    version = 2
    batch_dependence = "gathered"
    HParams = LEAPHParams
    hparams: LEAPHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a cosine classifier; register class statistics."""
        backbone, width = build_backbone(spec)
        self.centers = ClassMoments(spec.classes, width, share=self.hparams.center_share)
        self.memory = ClassMemory(self.hparams.repeats * self.counts, 1)
        self.lacking: Tensor  # [C], variances of the clouds
        self.register_buffer("lacking", torch.zeros(spec.classes, dtype=torch.float64))
        return Network(backbone, CosineClassifier(width, spec.classes, self.hparams.scale))

    def on_epoch_start(self, progress: Progress) -> None:
        """Set the variances of the clouds."""
        if progress.fraction >= self.hparams.start:
            variances = self.memory.variances()[:, 0]
            self.lacking.copy_(cloud_variances(variances, self.counts.cpu()))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the margin loss of a point in each image's cloud."""
        hparams = self.hparams
        features = self.network.features(batch.images)
        self.keep_angles(features.detach().double(), batch.labels)
        cosines = cast("CosineClassifier", self.network.classifier).cosines(features)  # [B, C]
        clouds = torch.zeros_like(cosines)
        if self.progress.fraction >= hparams.start:
            noise = self.rng.normal(batch.labels, self.spec.classes)
            clouds = as_constant(self.lacking[batch.labels].sqrt()[:, None] * noise, cosines)
        logits = cloud_logits(
            cosines, batch.labels, clouds, hparams.scale, hparams.margin, hparams.form
        )
        return cross_entropy(logits, batch.labels)

    @torch.no_grad()
    def keep_angles(self, features: Tensor, labels: Tensor) -> None:
        """Update the centers, and store the angles of features to them."""
        self.centers.update(features, labels)
        cosines = torch.cosine_similarity(features, self.centers.mean[labels])
        self.memory.push(angles(cosines)[:, None], labels)
