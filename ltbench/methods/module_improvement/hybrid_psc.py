"""Hybrid-PSC: contrast with class prototypes at first, a balanced classifier later.

Wang, Han, Wei, Zhang, Wang, "Contrastive Learning based Hybrid Networks for Long-Tailed Image
Classification", CVPR 2021 (arXiv:2103.14267).

    L = alpha L_PSC + (1 - alpha) L_CE, alpha = 1 - (T / T_max)^2                 implemented
    L_PSC = -log exp(v q_y / tau) / sum_(c != y) exp(v q_c / tau)                 implemented
    L_PSC on batches of all images, L_CE on class-balanced batches                implemented
    projection with one hidden layer, of length 1; a linear classifier            implemented

The class of an image is not in the denominator. T counts epochs from 0: in the first epoch the
classifier does not learn. Predictions are the classifier's.

Where ours is not theirs: the authors' code is not public. Prototypes are learned and of length 1,
our reading. Each image of the contrast has the recipe's view and a distorted one, both contrasted
with the prototypes; the classifier sees the recipe's view. Theirs are cropped, flipped and
sometimes gray. Batch size and rate are the recipe's; on CIFAR they train for 200 epochs with
batches of 512 at a rate of 0.5.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.losses import cross_entropy, prototype_contrast
from ltbench.methods.contract import Batch, HParams, Loss, Method, Stage
from ltbench.methods.papers import HYBRID
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.projection import projection


class HybridHParams(HParams):
    """Hyper-parameters of the hybrid networks."""

    temperature: float = Field(0.1, gt=0, description="of the contrast (tau)")
    width: int = Field(128, ge=1, description="dimension of the projection")


class HybridNetwork(Network):
    """A network with a projection beside the classifier."""

    def __init__(self, spec: NetworkSpec, outputs: int) -> None:
        backbone, width = build_backbone(spec)
        super().__init__(backbone, linear(width, spec.classes))
        self.projection = projection(width, outputs, "none")


class Hybrid(Method):
    """Contrast on all images beside a classifier on balanced batches."""

    paper = HYBRID
    category = "representation"
    # Two views of one batch and one of the other.
    stages = (
        Stage(
            "train",
            samplers=("instance", "class_balanced"),
            views=("recipe", "distorted"),
            passes=1.5,
        ),
    )
    HParams = HybridHParams
    hparams: HybridHParams
    network: HybridNetwork

    @property
    def alpha(self) -> float:
        """Weight of the contrast in this epoch."""
        return 1 - self.progress.fraction**2

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        """Return the weighted losses of contrast and classifier."""
        everything, balanced = batch["instance"], batch["class_balanced"]
        embeddings = self.network.projection(self.network.features(everything.images.flatten(0, 1)))
        views = embeddings.unflatten(0, everything.images.shape[:2])  # [V, B, D]
        logits = self.network(balanced.images[0])
        return {
            "contrast": self.alpha * self.contrast(views, everything.labels),
            "classes": (1 - self.alpha) * cross_entropy(logits, balanced.labels),
        }

    def contrast(self, views: Tensor, labels: Tensor) -> Tensor:
        """Return the contrastive loss of embeddings [V, B, D] of classes [B]."""
        raise NotImplementedError


class HybridPSC(Hybrid):
    """Contrast with learned class prototypes beside a balanced classifier."""

    title = "Hybrid-PSC"

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a projection, and prototypes beside it."""
        network = HybridNetwork(spec, self.hparams.width)
        directions = F.normalize(torch.randn(spec.classes, self.hparams.width))
        self.prototypes = nn.Parameter(directions)
        return network

    def contrast(self, views: Tensor, labels: Tensor) -> Tensor:
        """Return the contrast of embeddings with class prototypes.

        Args:
            views: [V, B, D], embeddings.
            labels: [B], int64.
        """
        return prototype_contrast(
            views.flatten(0, 1),
            self.prototypes,
            labels.repeat(len(views)),
            self.hparams.temperature,
        )
