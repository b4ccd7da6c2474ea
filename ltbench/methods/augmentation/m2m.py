"""M2m: images of large classes, translated into images of small ones.

Kim, Jeong, Shin, "M2m: Imbalanced Classification via Major-to-minor Translation", CVPR 2020
(arXiv:2004.00431), section 3.

    an image of class k stays with probability n_k / n_max, or is one to be made       implemented
    seed j with probability ~ 1 - beta^max(n_j - n_k, 0), of the batch                 implemented
    steps against the gradient of CE(g(x), k) + lambda f_j(x) from the seed with noise  implemented
    accepted with probability 1 - beta^max(n_j - n_k, 0), and if g's p_k >= gamma      implemented
    g: a network trained on the same images                                            implemented
    class-balanced batches, from the deferred epoch on; cross-entropy before           implemented
    those batches alone, which they compare to (DRS)            implemented: `translations: false`
    LDAM as the loss, and a cosine classifier                                          left out

f_j is the logit of the seed's class under the network that is trained. As in the authors' code f
and g are in evaluation mode, pixels stay in [0, 1], steps are of length 0.1, and the noise has at
most a length of 0.5 for each channel, over all images to be made. What is not accepted leaves the
image that was drawn. g is a job of its own, softmax under the same recipe.

The authors' code clamps pixels between images and networks. The gradient of a pixel at 0 or 1 is
then that of the network in the versions of PyTorch that they had (`bounds: closed`), and none from
2.14 on (`open`); ours are masks, the same in every version.

Where ours is not theirs: they begin at epoch 160 of 200, with a hundredth of the rate; ours is the
recipe's. gamma is that of their CIFAR-10 script (0.9; the code's default is 0.99). Steps are taken
for each image of the batch, also for those that stay. Padding of a crop is 0 after normalization.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.distributed import all_sum, gather
from ltbench.losses import cross_entropy
from ltbench.losses.counts import or_one
from ltbench.methods.contract import LATER, Batch, EpochDraw, HParams, Loss, Paper, Stage, Teacher
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.methods.shared import OneTeacher
from ltbench.networks import NetworkSpec
from ltbench.samplers import draw_by_weight

Bounds = Literal["closed", "open"]
NOISE = 0.5
"""Longest noise of a channel, over all images of a batch."""


def seed_probabilities(targets: Tensor, seeds: Tensor, counts: Tensor, beta: float) -> Tensor:
    """Return the probability that an image is accepted as a seed.

    Args:
        targets: [B], classes to be made.
        seeds: [N], classes of the images.
        counts: [C], training images per class.
        beta: base; the closer to 1, the larger a class of seeds must be.

    Returns:
        [B, N] float64; 0 of classes that are not larger than the target.
    """
    sizes = counts.double()
    return 1 - beta ** F.relu(sizes[seeds] - sizes[targets][:, None])


def draw_seeds(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """Return a seed for each row, in proportion to its probabilities.

    Args:
        probabilities: [B, N].
        numbers: [B], uniform in [0, 1).

    Returns:
        [B] int64; the first of a row without probabilities.
    """
    drawn = draw_by_weight(probabilities, numbers[:, None])[:, 0]
    return torch.where(probabilities.any(dim=1), drawn, 0)


def short_noise(noise: Tensor, made: Tensor) -> Tensor:
    """Return noise, each channel at most `NOISE` long in the global batch.

    Args:
        noise: [B, C, H, W], this rank's rows.
        made: [B] bool, the rows that count.
    """
    squares = (noise.square() * made[:, None, None, None]).sum(dim=(0, 2, 3))
    length = all_sum(squares).sqrt()
    scale = torch.where(length > NOISE, NOISE / (length + 1e-7), 1.0)
    return noise * scale[:, None, None]


def in_bounds(pixels: Tensor) -> Tensor:
    """Return pixels, those below 0 and above 1 moved there."""
    return torch.where(pixels < 0, 0.0, torch.where(pixels > 1, 1.0, pixels))


def descend(
    pixels: Tensor, loss: Callable[[Tensor], Tensor], steps: int, size: float, bounds: Bounds
) -> Tensor:
    """Return pixels after steps against the gradient of a loss.

    Args:
        pixels: [B, C, H, W], in [0, 1].
        loss: of pixels, a scalar; a row of the gradient is that of an image.
        steps: number of steps.
        size: length of a step of an image.
        bounds: "closed", pixels at 0 and 1 have the gradient of the loss; "open", they have none.
    """
    for _ in range(steps):
        pixels = pixels.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(pixels), pixels)
        if bounds == "open":
            gradient = gradient * ((pixels > 0) & (pixels < 1))
        length = gradient.flatten(1).norm(dim=1)[:, None, None, None]
        pixels = in_bounds(pixels.detach() - size * gradient / (length + 1e-10))
    return pixels


OF_TRANSLATIONS: dict[str, Any] = {"only_with": {"translations": True}}


class M2mHParams(HParams):
    """Hyper-parameters of M2m."""

    beta: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="of the probabilities of seeds: larger, fewer are accepted",
        json_schema_extra=OF_TRANSLATIONS,
    )
    weight: float = Field(
        0.5,
        ge=0,
        description="of the logit of the seed's class (lambda)",
        json_schema_extra=OF_TRANSLATIONS,
    )
    confidence: float = Field(
        0.9,
        ge=0,
        le=1,
        description="least probability of the target under the teacher (gamma)",
        json_schema_extra=OF_TRANSLATIONS,
    )
    steps: int = Field(
        10, ge=1, description="steps of a translation", json_schema_extra=OF_TRANSLATIONS
    )
    step_size: float = Field(
        0.1,
        gt=0,
        description="length of a step, of pixels in [0, 1]",
        json_schema_extra=OF_TRANSLATIONS,
    )
    bounds: Bounds = Field(
        "closed",
        description="whether pixels at 0 and 1 have a gradient (closed) or none (open)",
        json_schema_extra=OF_TRANSLATIONS,
    )
    translations: bool = Field(
        True,
        description="whether images are translated; else deferred re-sampling (DRS) alone",
        json_schema_extra=LATER,
    )


class M2m(OneTeacher):
    """Cross-entropy, late with images of large classes translated into small ones."""

    title = "M2m"
    paper = Paper(
        title="M2m: Imbalanced Classification via Major-to-minor Translation",
        authors="Jaehyung Kim, Jongheon Jeong, Jinwoo Shin",
        venue="CVPR",
        year=2020,
        arxiv="2004.00431",
    )
    category = "transfer"
    # In the last fifth of the epochs ten times two networks, forward and back, and one verdict.
    stages = (
        Stage(
            "train",
            forward_passes=7.2,
            changes=(({"translations": False}, {"forward_passes": 0.0}),),
        ),
    )
    teachers = (Teacher("softmax", unless={"translations": False}),)
    batch_dependence = "gathered"
    oracle = "m2m"
    HParams = M2mHParams
    hparams: M2mHParams

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: Any = None) -> None:
        super().__init__(spec, counts, hparams)
        if self.hparams.translations:
            self.add_teacher(Softmax(spec, counts))

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; register the normalization of its images."""
        self.mean: Tensor
        self.std: Tensor
        for name, values, default in (("mean", spec.mean, 0.0), ("std", spec.std, 1.0)):
            channels = torch.tensor(values or [default] * spec.channels)
            self.register_buffer(name, channels[:, None, None], persistent=False)
        return super().build_network(spec)

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return the training images of an epoch, class-balanced once deferred."""
        sampler = "class_balanced" if self.progress.deferred else "instance"
        return {sampler: draw.sampler(sampler)}

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy, late of a batch with translated images."""
        translates = self.hparams.translations and self.progress.deferred
        images = self.with_translations(batch) if translates else batch.images
        return cross_entropy(self.network(images), batch.labels)

    @torch.enable_grad()
    def with_translations(self, batch: Batch) -> Tensor:
        """Return images of a batch, some translated from larger classes."""
        hparams, targets = self.hparams, batch.labels
        numbers = self.rng.uniform(targets, 3)  # [B, 3]
        shape = batch.images.shape[1:]
        noise = self.rng.uniform(targets, *shape) - 0.5
        labels = gather(targets)
        probabilities = seed_probabilities(targets, labels, self.counts, hparams.beta)  # [B, N]
        seeds = draw_seeds(probabilities, numbers[:, 1])
        made = numbers[:, 0] >= self.counts[targets] / self.counts.max()
        made &= probabilities.any(dim=1)

        pixels = gather(batch.images)[seeds] * self.std + self.mean
        pixels = in_bounds(in_bounds(pixels) + short_noise(noise.to(pixels.dtype), made))
        pixels = self.translate(pixels, labels[seeds], targets, made)
        chosen = probabilities.gather(1, seeds[:, None])[:, 0]
        accepted = made & self.accepts(pixels, targets) & (numbers[:, 2] < chosen)
        images = (pixels - self.mean) / self.std
        return torch.where(accepted[:, None, None, None], images, batch.images)

    def translate(self, pixels: Tensor, seeds: Tensor, targets: Tensor, made: Tensor) -> Tensor:
        """Return pixels moved from the classes of seeds to the targets.

        Args:
            pixels: [B, C, H, W], in [0, 1].
            seeds: [B], their classes.
            targets: [B], classes to be made.
            made: [B] bool; the number of all ranks divides the loss.
        """
        count = or_one(all_sum(made.sum()))

        def loss(pixels: Tensor) -> Tensor:
            images = (pixels - self.mean) / self.std
            missed = F.cross_entropy(self.teacher.network(images), targets, reduction="none")
            kept = self.network(images).gather(1, seeds[:, None])[:, 0]
            total: Tensor = (missed + self.hparams.weight * kept).sum()
            return total / count

        hparams, training = self.hparams, self.network.training
        self.network.eval()
        pixels = descend(pixels, loss, hparams.steps, hparams.step_size, hparams.bounds)
        self.network.train(training)
        return pixels

    @torch.no_grad()
    def accepts(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return whether g is sure of the targets [B] of pixels."""
        logits = self.teacher.network((pixels - self.mean) / self.std)
        sure = logits.softmax(dim=1).gather(1, targets[:, None])[:, 0]
        accepted: Tensor = sure >= self.hparams.confidence
        return accepted
