"""FASA: virtual features of each class, sampled by its held-out loss.

Zang, Huang, Loy, "FASA: Feature Augmentation and Sampling Adaptation for Long-Tailed Instance
Segmentation", ICCV 2021 (arXiv:2102.12867), section 3.

    mean and variance of each class, mu <- 0.1 mu_batch + 0.9 mu                     implemented
    virtual features mu_c + sigma_c epsilon, cross-entropy of the classifier on them  implemented
    p_c ~ 1 / n_c, the probability that a step has one of class c                    implemented
    p of a group of classes: x 1.1 where its loss has fallen, x 0.9 where it rose     implemented
    groups of classes by affinity propagation of their means                         implemented
    box and mask heads, and the background                                           left out

As in the authors' code variances are unbiased, virtual features begin with the second epoch and
have a weight of 0.1, losses are sums by class over the number of all held-out images, the first
epoch only stores them, and p is at most 1.

Where ours is not theirs: the released code adapts on the images on which it reports (its validation
workflow reads the LVIS validation set). Ours adapts on held-out images, never on the test; by
default they are of the training set, so that it is to be compared with softmax less the held-out
images. Theirs gives affinity propagation squared distances where it takes similarities, and so
groups what is far apart; ours are minus the squared distances. Features are those of all images
instead of proposals. With some thousands of classes the grouping takes minutes an epoch.
"""

import warnings
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.losses import cross_entropy
from ltbench.losses.counts import as_constant, or_one
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.class_statistics import ClassMoments


def initial_probabilities(counts: Tensor, power: float = 1.0, scale: float = 1.0) -> Tensor:
    """Return each class's probability of a virtual feature in a step.

    Args:
        counts: [C], training images per class.
        power: exponent of the classes' shares of 1 / n.
        scale: factor.

    Returns:
        [C] float64, at most 1.
    """
    inverse = 1 / counts.double()
    return (scale * (inverse / inverse.sum()) ** power).minimum(torch.ones_like(inverse))


def adapted_probabilities(
    probabilities: Tensor,
    before: Tensor,
    after: Tensor,
    groups: Tensor,
    up: float = 1.1,
    down: float = 0.9,
) -> Tensor:
    """Return probabilities after a change of losses.

    Args:
        probabilities: [C] of virtual features.
        before: [C], losses.
        after: [C], later losses.
        groups: [C] int64, the group of each class; its losses are added.
        up: factor where the loss of the group has fallen.
        down: factor where it has risen.

    Returns:
        [C], at most 1.
    """
    same = (groups[:, None] == groups).to(after.dtype)  # [C, C]
    change = same @ (after - before)
    moved = probabilities * torch.where(change > 0, torch.full_like(change, down), up)
    return torch.where(change == 0, probabilities, moved.minimum(torch.ones_like(moved)))


def similar_classes(means: Tensor) -> Tensor:
    """Return groups of classes whose means are close, by affinity propagation.

    Args:
        means: [C, D].

    Returns:
        [C] int64 on the CPU, the group of each class; one for each class where none are found.
    """
    from sklearn.cluster import AffinityPropagation
    from sklearn.exceptions import ConvergenceWarning

    means = means.cpu()
    similarities = -torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist").square()
    propagation = AffinityPropagation(affinity="precomputed", random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "All samples have mutually equal similarities")
        groups = torch.from_numpy(propagation.fit(similarities.numpy()).labels_).long()
    return torch.where(groups < 0, torch.arange(len(groups)), groups)


class FASAHParams(HParams):
    """Hyper-parameters of FASA."""

    share: float = Field(0.1, gt=0, le=1, description="weight of a batch in the running moments")
    weight: float = Field(0.1, ge=0, description="weight of the loss of virtual features")
    power: float = Field(1.0, ge=0, description="exponent of 1 / n in the first probabilities")
    scale: float = Field(1.0, ge=0, description="factor of the first probabilities")
    up: float = Field(1.1, ge=1, description="factor of a probability whose loss has fallen")
    down: float = Field(0.9, gt=0, le=1, description="factor of a probability whose loss has risen")


class FASA(Method):
    """Cross-entropy, of images and of virtual features."""

    title = "FASA"
    paper = Paper(
        title="FASA: Feature Augmentation and Sampling Adaptation for Long-Tailed Instance "
        "Segmentation",
        authors="Yuhang Zang, Chen Huang, Chen Change Loy",
        venue="ICCV",
        year=2021,
        arxiv="2102.12867",
    )
    category = "augmentation"
    stages = (Stage("train", tunes_on_validation="epochs"),)
    batch_dependence = "gathered"
    oracle = "fasa"
    HParams = FASAHParams
    hparams: FASAHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network; register moments, probabilities and losses of the classes."""
        backbone, width = build_backbone(spec)
        self.moments = ClassMoments(spec.classes, width, share=self.hparams.share)
        self.probabilities: Tensor
        self.losses: Tensor
        first = initial_probabilities(self.counts, self.hparams.power, self.hparams.scale)
        self.register_buffer("probabilities", first)
        self.register_buffer("losses", torch.zeros_like(first))
        return Network(backbone, linear(width, spec.classes))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of images and of virtual features."""
        features = self.network.features(batch.images)
        self.moments.update(features.detach(), batch.labels)
        losses = {"classes": cross_entropy(self.network.classifier(features), batch.labels)}
        if self.progress.epoch >= 1:
            losses["virtual"] = self.hparams.weight * self.virtual_loss(features)
        return losses

    def virtual_loss(self, features: Tensor) -> Tensor:
        """Return the mean cross-entropy of a step's virtual features.

        Args:
            features: [B, D], whose precision the virtual ones get.
        """
        moments, generator = self.moments, self.rng.generator
        drawn = self.rng.shared(self.spec.classes).to(features.device) < self.probabilities
        drawn &= moments.seen > 0
        noise = torch.randn(moments.mean.shape, generator=generator).to(features.device)
        virtual = moments.mean + moments.variance.sqrt() * noise  # [C, D], of which some are drawn
        logits = self.network.classifier(as_constant(virtual, features))
        labels = torch.arange(self.spec.classes, device=logits.device)
        losses = F.cross_entropy(logits, labels, reduction="none") * drawn
        return losses.sum() / or_one(drawn.sum())

    def tune_on_validation(self, batches: Iterable[Batch]) -> None:
        """Adapt the probabilities to the change of losses on held-out images."""
        sums, images = torch.zeros_like(self.losses), 0
        for batch in batches:
            losses = F.cross_entropy(self.network(batch.images), batch.labels, reduction="none")
            member = F.one_hot(batch.labels, self.spec.classes).double()
            sums += member.T @ losses.double()
            images += len(batch)
        after = sums / images
        if self.losses.any():
            groups = similar_classes(self.moments.mean).to(after.device)
            factors = self.hparams.up, self.hparams.down
            self.probabilities.copy_(
                adapted_probabilities(self.probabilities, self.losses, after, groups, *factors)
            )
        self.losses.copy_(after)
