"""Dynamic curriculum learning (DCL): from the real to the uniform distribution.

The distribution is that of the labels in a batch.

Wang, Gan, Yang, Wu, Yan, "Dynamic Curriculum Learning for Imbalanced Data Classification", ICCV
2019 (arXiv:1901.06783), section 3.

    D_target(l) = D_train^g(l), D relative to the smallest class                      implemented
    g by epoch: convex (default, the best of the paper), linear, concave, composite   implemented
    weights r = D_target / D_batch where r >= 1, else an image stays or is left out    implemented
    triplets of minority classes with easy anchors, of embeddings                     implemented
    weight f(l) of the triplets: falls until p L, epsilon from there on               implemented
    several attributes, each with an embedding and a classifier                       left out

The formulas were read in notes on the paper, its own text and code were not at hand. Anchors are
the k images of a class that are right with the largest probability of it, positives its k with the
lowest, negatives the k of other classes with the largest. Minority classes are those of CRL (Dong
et al., ICCV 2017): the smallest of the batch, of two images at least, which together have at most
half of it. With thousands of classes a batch has one image of most, none is a minority, and the
loss of triplets is 0.

What the notes do not say is ours: with many classes a batch lacks most of them, and both D are
relative to the smallest of the classes that are there; an image of a class with r < 1 stays with
probability r; weights are at most 10, and the loss is divided by B; of classes that have equally
many images in a batch, those with the fewest training images are minorities first; an anchor is not
its own positive; k is 5, the margin 0.5, epsilon 0.01, the base of the concave schedule 0.99;
embeddings are of length 1, by a linear layer beside the classifier. The concave schedule is 0.99 to
the power of the completed epochs, not of their share: after few epochs it is still near 1. As
printed f jumps at p L; `smooth` is the other reading, that does not.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.autocast import at_least_float32, unit_rows
from ltbench.core.distributed import all_sum, gather, gather_with_gradient, global_mean
from ltbench.losses.counts import as_constant, or_one
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.losses.finite_gradients import root
from ltbench.losses.triplets import largest, minority_classes
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone

Schedule = Literal["convex", "linear", "concave", "composite"]
CONCAVE = 0.99


def sampling_power(schedule: Schedule, epoch: int, epochs: int) -> float:
    """Return the exponent g of an epoch, from 1 towards 0."""
    fraction = epoch / epochs
    if schedule == "linear":
        return 1 - fraction
    if schedule == "concave":
        return CONCAVE**epoch
    if schedule == "composite":
        return (math.cos(fraction * math.pi) + 1) / 2
    return math.cos(fraction * math.pi / 2)


def triplet_weight(fraction: float, until: float, least: float, *, smooth: bool = False) -> float:
    """Return the weight f of the triplets.

    Args:
        fraction: of the epochs, so far.
        until: share of the epochs with weights above the least one (p).
        least: weight (epsilon).
        smooth: whether it falls to the least one at `until`, without a jump.
    """
    if fraction >= until:
        return least
    return (math.cos((fraction / until if smooth else fraction) * math.pi) + 1) / 2 + least


def target_ratios(counts: Tensor, drawn: Tensor, power: float) -> Tensor:
    """Return the target distribution's ratios r to that of a batch.

    Args:
        counts: [C], training images per class.
        drawn: [C], images per class of the batch.
        power: exponent of the real distribution (g).

    Returns:
        [C] float64, 0 of classes that are not in the batch.
    """
    there = drawn > 0
    sizes, drawn = counts.double(), drawn.double()
    target = (sizes / sizes.masked_fill(~there, torch.inf).min()) ** power
    current = drawn / drawn.masked_fill(~there, torch.inf).min()
    return torch.where(there, target / or_one(current), 0)


def easy_anchor_triplets(
    embeddings: Tensor,
    probabilities: Tensor,
    labels: Tensor,
    counts: Tensor,
    images: int,
    margin: float,
) -> Tensor:
    """Return the mean hinge loss of triplets of a global batch.

    Args:
        embeddings: [N, D].
        probabilities: [N, C].
        labels: [N], int64.
        counts: [C], training images per class.
        images: anchors, positives and negatives of a class, at most (k).
        margin: by which a negative has to be farther than a positive.
    """
    classes = probabilities.shape[1]
    own = F.one_hot(labels, classes).bool().T  # [C, N]
    minority = minority_classes(own.sum(dim=1), len(labels), counts)  # [C]
    scores = probabilities.T.detach()  # [C, N]
    right = own & (probabilities.argmax(dim=1) == labels)
    k = min(images, len(labels))

    anchors, has_anchor = largest(scores, right, k)  # [C, k]
    positives, has_positive = largest(-scores, own, k)
    negatives, has_negative = largest(scores, ~own, k)
    to_positive = _distances(embeddings[anchors], embeddings[positives])  # [C, k, k]
    to_negative = _distances(embeddings[anchors], embeddings[negatives])
    hinges = F.relu(margin + to_positive[:, :, :, None] - to_negative[:, :, None, :])
    counted = (minority[:, None] & has_anchor)[:, :, None, None]
    counted = counted & has_positive[:, None, :, None] & has_negative[:, None, None, :]
    counted = counted & (anchors[:, :, None] != positives[:, None, :])[:, :, :, None]
    return torch.where(counted, hinges, 0).sum() / or_one(counted.sum())


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """Return Euclidean distances of rows [C, K, D] and [C, L, D]."""
    return root((first[:, :, None] - second[:, None]).square().sum(dim=3))


class DynamicCurriculumHParams(HParams):
    """Hyper-parameters of dynamic curriculum learning."""

    schedule: Schedule = Field(
        "convex",
        description="of the class distribution's exponent; concave: 0.99 to the power of the epoch",
    )
    max_weight: float = Field(10.0, ge=1, description="largest weight of an image")
    width: int = Field(64, ge=1, description="dimension of the embedding")
    images: int = Field(
        5, ge=1, description="anchors, positives and negatives of a minority class (k)"
    )
    margin: float = Field(0.5, ge=0, description="of a triplet (m)")
    until: float = Field(
        0.3, gt=0, le=1, description="share of the epochs that weigh triplets more (p)"
    )
    least: float = Field(0.01, ge=0, description="weight of the triplets from then on (epsilon)")
    smooth: bool = Field(False, description="whether the weight of the triplets has no jump")


class DynamicCurriculum(Method):
    """Cross-entropy that balances batches more and more, with triplets at first."""

    title = "DCL"
    paper = Paper(
        title="Dynamic Curriculum Learning for Imbalanced Data Classification",
        authors="Yiru Wang, Weihao Gan, Jie Yang, Wei Wu, Junjie Yan",
        venue="ICCV",
        year=2019,
        arxiv="1901.06783",
    )
    category = "re-sampling"
    version = 2
    batch_dependence = "gathered"
    HParams = DynamicCurriculumHParams
    hparams: DynamicCurriculumHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; register the embedding."""
        backbone, width = build_backbone(spec)
        network = Network(backbone, linear(width, spec.classes))
        self.embedding = nn.Linear(width, self.hparams.width)
        return network

    def training_loss(self, batch: Batch) -> Loss:
        """Return the weighted cross-entropy and the loss of triplets."""
        hparams, progress = self.hparams, self.progress
        features = self.network.features(batch.images)
        logits = self.network.classifier(features)
        weights = self.weights(batch.labels)
        losses = cross_entropies(logits, batch.labels)
        embeddings = self.embedding(features)
        embeddings = unit_rows(embeddings)
        triplets = easy_anchor_triplets(
            gather_with_gradient(embeddings),
            gather(at_least_float32(logits).softmax(dim=1)),
            gather(batch.labels),
            self.counts,
            hparams.images,
            hparams.margin,
        )
        weight = triplet_weight(
            progress.fraction, hparams.until, hparams.least, smooth=hparams.smooth
        )
        return {
            "classes": global_mean(as_constant(weights, losses) * losses),
            "triplets": weight * triplets,
        }

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weights [B] of images, 0 of those left out."""
        drawn = all_sum(F.one_hot(labels, self.spec.classes).sum(dim=0))
        power = sampling_power(self.hparams.schedule, self.progress.epoch, self.progress.epochs)
        ratios = target_ratios(self.counts, drawn, power)[labels]
        stays = (self.rng.uniform(labels) < ratios).double()
        bounded = torch.where(ratios < self.hparams.max_weight, ratios, self.hparams.max_weight)
        return torch.where(ratios >= 1, bounded, stays)
