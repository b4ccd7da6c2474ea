"""BALMS: a balanced softmax classifier, with learned sampling rates of classes.

Ren, Yu, Sheng, Ma, Zhao, Yi, Li, "Balanced Meta-Softmax for Long-Tailed Visual Recognition",
NeurIPS 2020 (arXiv:2007.10740), algorithm 1.

    rate of a class: sigmoid(psi_c), of an image that of its class                    implemented
    a batch: Gumbel-softmax over all training images, straight-through                implemented
    virtual step of the classifier on that batch, by balanced softmax                 implemented
    psi by Adam on the cross-entropy of a balanced meta batch, through that step      implemented
    real step on the same batch, by balanced softmax with the training set's prior    implemented
    end-to-end training                          left out: the authors' code trains the classifier

As in the authors' code the backbone is that of softmax, frozen, meta images are drawn by class,
for CIFAR from the training images, elsewhere from validation images (`meta_images`), initial rates
are in proportion to n^-power, and the rates of a step draw the next one's batch.

Where ours is not theirs: features of training images are those without augmentation, held in
memory (N x D); their sampler draws augmented images. The virtual step has weight decay, but no
momentum; theirs carries that of the real steps. The backbone's BatchNorm is fixed, theirs is in
training mode. Steps draw B x N random numbers. They take 2,000 steps of 512 images; in fewer steps
rates move less, as a step of Adam moves a logit by about its rate.
"""

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from ltbench.classifiers import reset_linear
from ltbench.core.distributed import global_mean
from ltbench.core.inner import Learned, virtual_step
from ltbench.losses import balanced_softmax, cross_entropy, log_prior
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.methods.contract import Batch, HParams, Loss, Method, Network, Stage, StepInput
from ltbench.methods.papers import BALANCED_META_SOFTMAX
from ltbench.networks import NetworkSpec

LEAST = 2**-25
"""Half of the distance between uniform random numbers, which may be 0."""


def initial_logits(counts: Tensor, power: float) -> Tensor:
    """Return the logits of rates in proportion to n^-power.

    The smallest and the largest rate add up to 1.

    Args:
        counts: [C], training images per class.
        power: 0 for rates of one half.

    Returns:
        [C] float64.
    """
    rates = (counts.double() / counts.sum()) ** -power
    rates = rates / (rates.min() + rates.max())
    return (rates / (1 - rates)).log()


def draw_images(log_rates: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draw images by the Gumbel-softmax trick, with replacement.

    Args:
        log_rates: [N], of the images.
        noise: [B, N], exponential random numbers.

    Returns:
        Positions [B] of the images, and factors [B] of their losses: 1, with the straight-through
        gradient of having been drawn.
    """
    scores = log_rates - noise.log()  # [B, N]
    drawn = scores.argmax(dim=1)
    chance = scores.softmax(dim=1).gather(1, drawn[:, None]).squeeze(1)
    return drawn, 1 + (chance - chance.detach())


class BalancedMetaSoftmaxHParams(HParams):
    """Hyper-parameters of BALMS."""

    power: float = Field(0.0, ge=0, description="initial rates are in proportion to n^-power")
    meta_lr: float = Field(0.01, gt=0, description="Adam's learning rate of the rates")
    meta_images: Literal["training", "held_out"] = Field(
        "training", description="images of which the rates learn: training, or held-out ones"
    )
    virtual_decay: float = Field(5e-4, ge=0, description="weight decay of the virtual step")


class BalancedMetaSoftmax(Method):
    """A new classifier by balanced softmax and a learned sampler."""

    title = "BALMS"
    paper = BALANCED_META_SOFTMAX
    category = "re-sampling"
    stages = (
        Stage(
            "classifier",
            samplers=("class_aware",),
            needs_statistics_pass=True,
            recipe_stage="stage2",
            passes=0,
            changes=(
                ({"meta_images": "held_out"}, {"has_auxiliary_stream": True, "forward_passes": 1}),
            ),
        ),
    )
    init_from = "softmax"
    batch_dependence = "gathered"
    oracle = "balms_meta_sampler"
    HParams = BalancedMetaSoftmaxHParams
    hparams: BalancedMetaSoftmaxHParams
    network: Network
    features: Tensor
    labels: Tensor

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; register rates and features of all images."""
        network, total = super().build_network(spec), int(self.counts.sum())
        width = cast("nn.Linear", network.classifier).in_features
        self.register_buffer("features", torch.zeros(total, width), persistent=False)
        self.register_buffer("labels", torch.zeros(total, dtype=torch.int64), persistent=False)
        self.is_filled = False
        logits = initial_logits(self.counts, self.hparams.power).to(self.features.dtype)
        self.rates = Learned(nn.ParameterDict({"logits": logits}), self.hparams.meta_lr)
        return network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze the backbone and re-initialize the classifier."""
        self.freeze(self.network.backbone)
        reset_linear(cast("nn.Linear", self.network.classifier))

    def needs_statistics_now(self) -> bool:
        """Return whether features are missing, as when a job resumes."""
        return not self.is_filled

    def update_statistics(self, batch: Batch) -> None:
        """Keep the features and labels of images."""
        features = self.network.features(batch.images)
        self.features[batch.index] = features.to(self.features.dtype)
        self.labels[batch.index] = batch.labels

    def finalize_statistics(self) -> None:
        """Note that the features are there."""
        self.is_filled = True

    def training_loss(self, batch: StepInput) -> Loss:
        """Return the balanced softmax of a drawn batch, after a meta step."""
        meta, features = self.meta_features(batch)
        noise = self.rng.uniform(meta.labels, len(self.labels)).double() + LEAST
        drawn = self.learn_rates(features, meta.labels, -noise.log())
        logits = self.network.classifier(self.features[drawn])
        return balanced_softmax(logits, self.labels[drawn], self.counts)

    def meta_features(self, batch: StepInput) -> tuple[Batch, Tensor]:
        """Return a step's meta batch, and its features [B, D]."""
        if isinstance(batch, Batch):
            return batch, self.features[batch.index]
        meta = batch["auxiliary"]
        return meta, self.network.features(meta.images)

    @torch.enable_grad()
    def learn_rates(self, features: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Draw training images, and move the rates by a meta step.

        Args:
            features: [B, D], of meta images.
            labels: [B], theirs, each class equally often.
            noise: [B, N], exponential random numbers.

        Returns:
            [B] positions of the drawn images, by the rates before the step.
        """
        classifier = self.network.classifier
        parameters: dict[str, Tensor] = dict(classifier.named_parameters())
        variables = self.rates.variables()
        log_rates = nn.functional.logsigmoid(variables["logits"])[self.labels]
        drawn, factors = draw_images(log_rates, noise.to(log_rates.dtype))

        logits = classifier(self.features[drawn]) + log_prior(self.counts)
        loss = global_mean(cross_entropies(logits, self.labels[drawn]) * factors)
        moved = virtual_step(loss, parameters, self.progress.lr, self.hparams.virtual_decay)

        logits = functional_call(classifier, moved, (features,))
        self.rates.step(cross_entropy(logits, labels), variables)
        return drawn
