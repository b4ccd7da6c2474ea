"""FTL, feature transfer learning: variation of large classes for small ones.

Yin, Yu, Sohn, Liu, Chandraker, "Feature Transfer Learning for Face Recognition with
Under-Represented Data", CVPR 2019 (arXiv:1803.09014).

    L = CE(W f) + alpha_reg ||W f||^2, f = R(g), g of the encoder                    implemented
    center c_i: mean of the features g of a class                                    implemented
        and of its mirrored images                                     implemented, `mirrored`
    V = sum of (g - c_i)(g - c_i)^T over regular classes, Q its leading axes          implemented
    transferred feature c_u + Q Q^T (g - c_i) of an under-represented class u        implemented
    stage 1, encoder fixed: in turn a batch of regular images far from their center,
        one of under-represented classes, the first one transferred to such classes  implemented
    stage 2, W fixed: batches of all images                                          implemented
    decoder and its loss ||x' - x||^2                                                left out
    centers of faces with small pose only                                            left out

The stage "pretraining" trains with L on all images; in "transfer" the paper's two stages alternate,
an epoch each; the last is one of stage 2. Before an epoch of stage 1 centers, axes and far images
(farther from the center than the mean of their class) are computed anew; the pass holds the
features of all images.

Where ours is not theirs: R is a perceptron with a hidden layer and normalization, theirs has
deconvolutions between linear layers; axes have 95 % of the energy, theirs are 150 of 320, which
have as much; alpha_reg is 0.001 as theirs on MNIST, on faces it is 0.25. Under-represented are
classes with fewer than 20 images (theirs: at most 20), else the smallest third; without any (equal
counts) stage 1 has ordinary batches. Such classes are drawn uniformly. "transfer" takes 0.3 of the
epochs at a tenth of the rate, by the recipe's optimizer; theirs alternates every 5,000 steps until
convergence, by Adam. Centers are without mirrored images, as mirrored digits are none; theirs are
with them. Faces are compared by cosines, ours are classified by W.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.autocast import at_least_float32
from ltbench.core.distributed import global_mean
from ltbench.losses import cross_entropy
from ltbench.losses.counts import as_constant, tail
from ltbench.methods.contract import (
    Batch,
    EpochDraw,
    HParams,
    Loss,
    Method,
    Paper,
    Progress,
    Stage,
)
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.class_statistics import ClassMeans
from ltbench.networks.projection import projection
from ltbench.samplers import draw_images, repeated_passes

TURNS = 3
"""Kinds of steps in an epoch with a fixed encoder."""


def axes_projection(covariance: Tensor, energy: float) -> Tensor:
    """Return the projection Q Q^T on the leading axes of a covariance.

    Args:
        covariance: [D, D], up to a factor.
        energy: least share of the variance that the axes have.

    Returns:
        [D, D] float64; zeros of a covariance of zeros.
    """
    values, vectors = torch.linalg.eigh(covariance.double())  # ascending
    values = F.relu(values).flip(0)
    before = values.cumsum(0) - values
    axes = vectors.flip(1) * (before < energy * values.sum())
    projected: Tensor = axes @ axes.T
    return projected


def transferred(features: Tensor, source: Tensor, target: Tensor, projected: Tensor) -> Tensor:
    """Return features moved to the centers of other classes.

    Args:
        features: [B, D].
        source: [B, D], centers of their classes.
        target: [B, D], centers of the other classes.
        projected: [D, D], projection of the deviation from the center.
    """
    return target + (features - source) @ projected


def logit_penalty(logits: Tensor) -> Tensor:
    """Return the mean squared length of logits [B, C], the "m-L2" loss."""
    return global_mean(at_least_float32(logits).square().sum(dim=1))


class FilteredNetwork(Network):
    """A network with a filter (R) between backbone and classifier."""

    def __init__(self, backbone: nn.Module, refine: nn.Module, classifier: nn.Module) -> None:
        super().__init__(backbone, classifier)
        self.refine = refine

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images or cached features."""
        logits: Tensor = self.classifier(self.refine(self.features(images)))
        return logits


class FTLHParams(HParams):
    """Hyper-parameters of feature transfer learning."""

    penalty: float = Field(0.001, ge=0, description="weight of the logits' length (alpha_reg)")
    energy: float = Field(0.95, ge=0, le=1, description="share of the variance that Q has")
    mirrored: bool = Field(False, description="whether centers are also of mirrored images")


class FTL(Method):
    """Training in turns, with features transferred to small classes."""

    title = "FTL"
    paper = Paper(
        title="Feature Transfer Learning for Face Recognition with Under-Represented Data",
        authors="Xi Yin, Xiang Yu, Kihyuk Sohn, Xiaoming Liu, Manmohan Chandraker",
        venue="CVPR",
        year=2019,
        arxiv="1803.09014",
    )
    category = "transfer"
    version = 2
    stages = (
        Stage("pretraining"),
        Stage(
            "transfer",
            needs_statistics_pass=True,
            epochs_scale=0.3,
            lr_scale=0.1,
            passes=0.5,
            forward_passes=1.0,
            changes=(({"mirrored": True}, {"forward_passes": 1.5}),),
        ),
    )
    HParams = FTLHParams
    hparams: FTLHParams
    network: FilteredNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a filter; register centers, axes and far images."""
        backbone, width = build_backbone(spec)
        is_tail = tail(self.counts)
        self.is_tail: Tensor
        self.tails: Tensor  # the classes of the tail
        self.far: Tensor  # [N] bool, regular images
        self.centers: Tensor
        self.projected: Tensor
        self.turn: Tensor  # steps of the epoch so far
        double, images = torch.float64, int(self.counts.sum())
        for name, value in (
            ("is_tail", is_tail),
            ("tails", is_tail.nonzero().flatten()),
            ("far", torch.zeros(images, dtype=torch.bool)),
            ("centers", torch.zeros(spec.classes, width, dtype=double)),
            ("projected", torch.zeros(width, width, dtype=double)),
        ):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))
        self.held: list[tuple[nn.Parameter, Tensor]] | None = None
        classifier = nn.Linear(width, spec.classes, bias=False)
        return FilteredNetwork(backbone, projection(width, width, spec.norm), classifier)

    @property
    def alternates(self) -> bool:
        """Whether a part of the network is fixed."""
        return self.stage.name == "transfer"

    @property
    def fixes_encoder(self) -> bool:
        """Whether the backbone is fixed in this epoch: the paper's stage 1."""
        left = self.progress.epochs - self.progress.epoch
        return self.alternates and left % 2 == 0

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - begins in each
        """Begin statistics."""
        self.begin_statistics()

    def begin_statistics(self) -> None:
        """Begin the statistics of a pass."""
        self.means = ClassMeans(self.spec.classes)
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_epoch_start(self, progress: Progress) -> None:  # noqa: ARG002 - a property reads it
        """Fix the statistics of the backbone's BatchNorm, or let them go on."""
        self.held = None
        self.turn.zero_()
        self.frozen = [self.network.backbone] if self.fixes_encoder else []
        self.train()

    def needs_statistics_now(self) -> bool:
        """Return whether the epoch needs centers and axes."""
        return self.fixes_encoder

    def update_statistics(self, batch: Batch) -> None:
        """Keep features, and add them to the centers of their classes."""
        features = self.network.features(batch.images)
        whole = features
        if self.hparams.mirrored:
            whole = (features + self.network.features(batch.images.flip(-1))) / 2
        self.means.add(whole, batch.labels)
        self.seen.append((features, batch.labels, batch.index))

    def finalize_statistics(self) -> None:
        """Set centers, axes and far images."""
        self.centers.copy_(self.means.means())
        distances = ClassMeans(self.spec.classes)
        scatter = torch.zeros_like(self.projected)
        for features, labels, _ in self.seen:
            deviations = features.double() - self.centers[labels]
            distances.add(deviations.norm(dim=1, keepdim=True), labels)
            regular = deviations * ~self.is_tail[labels][:, None]
            scatter += regular.T @ regular
        self.projected.copy_(axes_projection(scatter.cpu(), self.hparams.energy))
        limits = distances.means()[:, 0]
        self.far.zero_()
        for features, labels, index in self.seen:
            distance = (features.double() - self.centers[labels]).norm(dim=1)
            self.far[index] = (distance > limits[labels]) & ~self.is_tail[labels]
        self.begin_statistics()

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return all images, or far ones and small classes in turn.

        They take turns while the encoder is fixed.
        """
        if not self.fixes_encoder or len(self.tails) == 0:
            return super().epoch_indices(draw)
        generator, tails = draw.generator("turns"), self.tails.cpu()
        turns = -(-draw.steps // TURNS)
        far = self.far.cpu().nonzero().flatten()
        if len(far) == 0:
            far = (~self.is_tail.cpu()[draw.labels]).nonzero().flatten()
        regular = repeated_passes(far, turns * draw.batch, generator).view(turns, draw.batch)

        shape = 2, turns, draw.batch
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator)
        classes = tails[(uniform[0] * len(tails)).long()]
        rare = draw_images(draw.labels, classes, uniform[1])
        return {"turns": torch.stack([regular, rare, regular], dim=1).flatten(0, 1)[: draw.steps]}

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy and the penalty of logits."""
        network, labels = self.network, batch.labels
        if not self.alternates:
            return self.losses(network(batch.images), labels)
        if self.fixes_encoder:
            with torch.no_grad():
                features = network.features(batch.images)
            features, labels = self.in_turn(features, labels)
            fixed, logits = network.backbone, network.classifier(network.refine(features))
        else:
            fixed, features = network.classifier, network.refine(network.features(batch.images))
            weight = cast("nn.Linear", network.classifier).weight.detach()
            logits = F.linear(features, weight)
        return self.losses(logits, labels) | {"fixed": self.hold(fixed.parameters())}

    def losses(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the losses of logits [B, C] with labels [B]."""
        penalty = self.hparams.penalty * logit_penalty(logits)
        return {"classes": cross_entropy(logits, labels), "logits": penalty}

    def in_turn(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and labels; in each third step transferred to small classes.

        Args:
            features: [B, D].
            labels: [B].
        """
        if len(self.tails) == 0:
            return features, labels
        chosen = self.tails[(self.rng.uniform(labels) * len(self.tails)).long()]
        source, target = self.centers[labels], self.centers[chosen]
        moved = as_constant(
            transferred(features.double(), source, target, self.projected), features
        )
        is_turn = self.turn % TURNS == TURNS - 1
        self.turn += 1
        return torch.where(is_turn, moved, features), torch.where(is_turn, chosen, labels)

    def hold(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Keep fixed parameters; return a loss of 0 with gradients of 0."""
        parameters = list(parameters)
        if self.held is None:
            self.held = [(each, each.detach().clone()) for each in parameters]
        return 0 * torch.stack([each.sum() for each in parameters]).sum()

    def on_step_end(self) -> None:
        """Undo what momentum and weight decay do to fixed parameters."""
        for parameter, value in self.held or ():
            parameter.copy_(value)
