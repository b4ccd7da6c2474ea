"""GLMC: consistent mixup and CutMix of batches, and a rebalanced classifier.

Du, Yang, Jia, Nan, Chen, Yang, "Global and Local Mixture Consistency Cumulative Learning for
Long-tailed Visual Recognitions", CVPR 2023 (arXiv:2305.08661), section 3.

    x_g, the mixup of a uniform and a re-sampled batch; x_l, their CutMix          implemented
    images re-sampled with weights 1 / n^q                                         implemented
    L_sim = -cos(p_g, sg z_l) - cos(p_l, sg z_g), p the prediction of z            implemented
    L_c, soft cross-entropy of both by one classifier                              implemented
    L_cb, the same by another one, labels times w ~ 1 / n^k with sum C             implemented
    L = alpha L_c + (1 - alpha) L_cb + gamma L_sim, alpha = 1 - (T / T_max)^2      implemented
    second stage with MaxNorm (Alshammari et al., CVPR 2022)                       left out

As in the authors' code lambda is from Beta(1, 1), one a batch, and is the share of both mixtures'
labels, although the box is cut off at the border; z and p are linear layers; the two mixtures pass
through BatchNorm one after the other; predictions are those of the rebalanced classifier. T counts
completed epochs. Both views of an image are the recipe's.

Where ours is not theirs: rate, weight decay and schedule are the recipe's times `lr`. On CIFAR the
authors have a cosine from 0.01 after a warm-up of 10 epochs, weight decay 5e-3, batches of 64, and
a ResNet-32 with four times the usual number of channels. In few steps their rate is too low to fit
the images.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.augment import MixedBatch, mix
from ltbench.augment.mixing import box, paste
from ltbench.classifiers import linear
from ltbench.core.autocast import at_least_float32
from ltbench.core.batch import Batch
from ltbench.core.distributed import global_mean
from ltbench.losses import scaled_to_classes
from ltbench.losses.counts import as_constant, class_sizes
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.methods.contract import EpochDraw, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone


def mixtures(
    uniform: Batch, resampled: Batch, share: float, center: tuple[int, int]
) -> tuple[MixedBatch, MixedBatch]:
    """Return the mixup of first views and the CutMix of second views.

    Args:
        uniform: images [2, B, C, H, W], two views.
        resampled: of the same shape.
        share: of the uniform batch in both labels (lambda).
        center: row and column of the box.
    """
    height, width = uniform.images.shape[-2:]
    where = box(share, (height, width), center, round_up=True)
    (first, second), (other_first, other_second) = uniform.images, resampled.images
    labels, partners = uniform.labels, resampled.labels
    whole = MixedBatch(mix(first, other_first, share), labels, partners, share)
    pasted = paste(replace(uniform, images=second), other_second, partners, where)
    return whole, replace(pasted, share=share)


def mixed_cross_entropy(logits: Tensor, mixed: MixedBatch, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of soft labels.

    Args:
        logits: [B, C].
        mixed: of B images.
        weights: [C], factors of the labels.
    """

    def loss_of(labels: Tensor) -> Tensor:
        losses = cross_entropies(logits, labels)
        return global_mean(
            losses if weights is None else as_constant(weights, logits)[labels] * losses
        )

    return mixed.loss(loss_of)


def consistency(projections: tuple[Tensor, Tensor], predictions: tuple[Tensor, Tensor]) -> Tensor:
    """Return the negative cosines of each mixture's predictions and the other's projections.

    Args:
        projections: [B, D] of both mixtures, constants of the gradient.
        predictions: [B, D] of both.
    """
    (z, other_z), (p, other_p) = projections, predictions
    return -global_mean(_cosines(p, other_z) + _cosines(other_p, z))


def _cosines(predictions: Tensor, projections: Tensor) -> Tensor:
    """Return cosines [B] of rows, without gradient for projections."""
    predictions, projections = (at_least_float32(x) for x in (predictions, projections.detach()))
    return F.cosine_similarity(predictions, projections)


class GLMCHParams(HParams):
    """Hyper-parameters of GLMC."""

    resampling: float = Field(
        0.2, ge=0, description="power of the inverse class size, weight of a re-sampled image (q)"
    )
    weighting: float = Field(
        1.0, ge=0, description="power of the inverse class size, factor of a label (k)"
    )
    consistency: float = Field(10.0, ge=0, description="weight of the consistency loss (gamma)")
    width: int = Field(128, ge=1, description="dimension of projection and prediction")
    lr: float = Field(1.0, gt=0, description="learning rate, relative to the recipe's")


class GLMCNetwork(Network):
    """A network with a further classifier, a projection and its prediction."""

    def __init__(self, spec: NetworkSpec, outputs: int) -> None:
        backbone, width = build_backbone(spec)
        super().__init__(backbone, linear(width, spec.classes))
        self.plain = linear(width, spec.classes)
        self.projection = nn.Linear(width, outputs)
        self.prediction = nn.Linear(outputs, outputs)


class GLMC(Method):
    """Two classifiers on consistent mixtures of images.

    The rebalanced one counts more and more.
    """

    title = "GLMC"
    paper = Paper(
        title="Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual "
        "Recognitions",
        authors="Fei Du, Peng Yang, Qi Jia, Fengtao Nan, Xiaoting Chen, Yun Yang",
        venue="CVPR",
        year=2023,
        arxiv="2305.08661",
    )
    category = "augmentation"
    stages = (
        Stage(
            "train",
            samplers=("instance", "power(exponent=0.8)"),
            views=("recipe", "recipe"),
        ),
    )
    oracle = "glmc"
    HParams = GLMCHParams
    hparams: GLMCHParams
    network: GLMCNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; register the factors of labels."""
        self.weights: Tensor
        weights = scaled_to_classes(class_sizes(self.counts) ** -self.hparams.weighting)
        self.register_buffer("weights", weights, persistent=False)
        return GLMCNetwork(spec, self.hparams.width)

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002 - equal for all
        """Return a parameter's learning rate, relative to the recipe's."""
        return self.hparams.lr

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return a pass over the images, and draws by inverse class size."""
        exponent = 1 - self.hparams.resampling
        return {
            "uniform": draw.sampler("instance"),
            "resampled": draw.sampler(f"power(exponent={exponent:.6f})"),
        }

    @property
    def alpha(self) -> float:
        """Weight of the plain classifier's loss."""
        return 1 - self.progress.fraction**2

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        """Return the losses of both classifiers, and that of consistency."""
        uniform, resampled = batch["uniform"], batch["resampled"]
        share, (row, column) = self.rng.beta(1.0), self.rng.shared(2).tolist()
        height, width = uniform.images.shape[-2:]
        mixed = mixtures(uniform, resampled, share, (int(row * height), int(column * width)))
        first, second = (self.network.features(part.images) for part in mixed)
        z = self.network.projection(first), self.network.projection(second)
        p = self.network.prediction(z[0]), self.network.prediction(z[1])
        return self.losses(
            (self.network.plain(first), self.network.plain(second)),
            (self.network.classifier(first), self.network.classifier(second)),
            mixed,
            consistency(z, p),
        )

    def losses(
        self,
        plain: tuple[Tensor, Tensor],
        rebalanced: tuple[Tensor, Tensor],
        mixed: tuple[MixedBatch, MixedBatch],
        apart: Tensor,
    ) -> dict[str, Tensor]:
        """Return the weighted parts of the loss.

        Args:
            plain: logits [B, C] of both mixtures.
            rebalanced: logits of the other classifier.
            mixed: mixup and CutMix.
            apart: the consistency loss.
        """
        of_plain = [mixed_cross_entropy(z, m) for z, m in zip(plain, mixed, strict=True)]
        balanced = [
            mixed_cross_entropy(z, m, self.weights) for z, m in zip(rebalanced, mixed, strict=True)
        ]
        return {
            "plain": self.alpha * (of_plain[0] + of_plain[1]),
            "rebalanced": (1 - self.alpha) * (balanced[0] + balanced[1]),
            "consistency": self.hparams.consistency * apart,
        }
