"""MetaSAug: tail features spread by covariances that learn from balanced images.

Li, Gong, Liu, Wang, Qiao, Cheng, "MetaSAug: Meta Semantic Augmentation for Long-Tailed Visual
Recognition", CVPR 2021 (arXiv:2103.12579), algorithm 1.

    ISDA: a bound of the expected loss of features with noise N(0, r Sigma_y)         implemented
    r = lambda e / E in epoch e                                                       implemented
    virtual step on that loss, with effective-number weights                          implemented
    Sigma' = Sigma - mu dL/dSigma, L the cross-entropy of meta images through it      implemented
    real step with Sigma'                                                             implemented
    cross-entropy alone before the deferred epoch                                     implemented
    LDAM's margins, or none: `loss`                                                   implemented
    a classifier alone, on a frozen backbone (ImageNet-LT, iNaturalist)               left out

As in the authors' code Sigma' serves one step and is not kept, covariances are those of all
features since the deferred epoch, before which there are none, margins are subtracted from plain
logits (LDAM's scale is not used), meta images are augmented as training images are, the virtual
step is plain gradient descent at the rate of the epoch, and BatchNorm's running statistics of the
virtual network are discarded.

Where ours is not theirs: their meta images, ten of each class, lie outside of the training set; by
default ours are held out of it, at most half of a class: compare with LDAM-DRW less the held-out
images, or set the dataset's `auxiliary` to `unused_pool`. Meta batches have equally many images of
each class; theirs are shuffled. Their rate falls to a hundredth in epochs 160 and 180 of 200; ours
is the recipe's. Features wider than 128 have variances alone, as theirs on ImageNet-LT.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.inner import functional, rank_mean, virtual_step
from ltbench.losses import cross_entropy, effective_number_weights, isda_logits, ldam_margins
from ltbench.losses.vector_scaling import vector_scaling
from ltbench.methods.contract import Batch, HParams, Loss, Method, Network, Paper, Stage
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.class_statistics import ClassMoments

WIDEST = 128
"""Features up to which covariances are matrices."""


class MetaSAugHParams(HParams):
    """Hyper-parameters of MetaSAug."""

    loss: Literal["softmax", "ldam"] = Field(
        "ldam", description="cross-entropy, or the same with LDAM's margins"
    )
    strength: float = Field(
        0.25, ge=0, description="factor of the covariances after the last epoch (lambda)"
    )
    meta_lr: float = Field(0.1, ge=0, description="step size of the covariances (mu)")
    max_margin: float = Field(
        0.5,
        ge=0,
        description="margin of the smallest class, with LDAM",
        json_schema_extra={"only_with": {"loss": "ldam"}},
    )
    beta: float = Field(0.9999, ge=0, lt=1, description="of effective-number class weights")


class MetaSAug(Method):
    """Late augmentation of features by covariances that a meta step adapts."""

    title = "MetaSAug"
    paper = Paper(
        title="MetaSAug: Meta Semantic Augmentation for Long-Tailed Visual Recognition",
        authors="Shuang Li, Kaixiong Gong, Chi Harold Liu, Yulin Wang, Feng Qiao, Xinjing Cheng",
        venue="CVPR",
        year=2021,
        arxiv="2103.12579",
    )
    category = "augmentation"
    # Ten passes as of Meta-Weight-Net, in the last fifth of the epochs.
    stages = (Stage("train", has_auxiliary_stream=True, forward_passes=2),)
    can_compile = False
    batch_dependence = "gathered"
    oracle = "metasaug"
    HParams = MetaSAugHParams
    hparams: MetaSAugHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network; register the moments of its features."""
        backbone, width = build_backbone(spec)
        self.moments = ClassMoments(spec.classes, width, full=width <= WIDEST)
        return Network(backbone, linear(width, spec.classes))

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        """Return the cross-entropy, once deferred that of augmented features."""
        training = batch["instance"]
        features = self.network.features(training.images)
        logits = self.network.classifier(features)
        if not self.progress.deferred:
            return cross_entropy(logits, training.labels)
        variances = self.learn_variances(training, batch["auxiliary"])
        weight = self.network.get_parameter("classifier.weight")
        loss = self.augmented_loss(logits, training.labels, weight, variances)
        self.moments.update(features.detach(), training.labels)
        return loss

    def augmented_loss(
        self, logits: Tensor, labels: Tensor, weight: Tensor, variances: Tensor
    ) -> Tensor:
        """Return the weighted loss of augmented features; arguments as of `isda_logits`."""
        hparams = self.hparams
        strength = hparams.strength * self.progress.fraction
        augmented = isda_logits(logits, labels, weight, variances, strength)
        margins = ldam_margins(self.counts, hparams.max_margin) if hparams.loss == "ldam" else None
        weights = effective_number_weights(self.counts, hparams.beta)
        return vector_scaling(augmented, labels, margins=margins, weights=weights)

    @torch.enable_grad()
    def learn_variances(self, training: Batch, meta: Batch) -> Tensor:
        """Return a step's variances, moved from the features' by a meta step.

        Args:
            training: of which the virtual step is taken.
            meta: balanced, which judge it.
        """
        parameters, forward = functional(self.network)
        variances = self.moments.variance.clone().requires_grad_()

        logits = forward(parameters, training.images)
        weight = parameters["classifier.weight"]
        loss = self.augmented_loss(logits, training.labels, weight, variances)
        moved = virtual_step(loss, parameters, self.progress.lr_of)

        outer = cross_entropy(forward(moved, meta.images), meta.labels)
        (gradient,) = torch.autograd.grad(outer, variances)
        return variances.detach() - self.hparams.meta_lr * rank_mean(gradient)
