"""Color and blur augmentation of batches, for views in contrastive learning.

Chen, Fan, Girshick, He, "Improved Baselines with Momentum Contrastive Learning", 2020
(arXiv:2003.04297), after SimCLR. With probability 0.8 brightness, contrast and saturation change by
a factor in [0.6, 1.4] and hue by up to a tenth of the circle; with probability 0.2 an image becomes
gray; with a given probability it is blurred by a Gaussian with a standard deviation in [0.1, 2]
pixels. The order of the four changes is drawn per batch, all else per image. Gray images have
neither saturation nor hue to change.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ltbench.augment.operations import brightness, color, contrast, gray

STRENGTH, HUE = 0.4, 0.1
JITTERED, GRAYED = 0.8, 0.2
"""Probabilities that an image is jittered and that it becomes gray."""

SMALLEST = 0.2
"""Share of an image's area that a random crop has at least, where views are distorted."""

WIDTHS = (0.1, 2.0)
RADIUS = 6
"""Radius of the Gaussian's kernel in pixels: three times the largest width."""


class DistortionParams(NamedTuple):
    """Random parameters of an epoch's distortion, on the CPU.

    Attributes:
        orders: [steps, 4] int64, which of the four changes comes first, second, ...
        strengths: [steps, B, 4] float64, of brightness, contrast, saturation and hue.
        jittered, grayed: [steps, B] bool.
        blurred: [steps, B] bool; None for no blur.
        widths: [steps, B] float64, standard deviations of the blur in pixels; None likewise.
    """

    orders: Tensor
    strengths: Tensor
    jittered: Tensor
    grayed: Tensor
    blurred: Tensor | None
    widths: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "DistortionParams":
        """Apply a function to each tensor of images."""
        return DistortionParams(
            self.orders,
            function(self.strengths),
            function(self.jittered),
            function(self.grayed),
            None if self.blurred is None else function(self.blurred),
            None if self.widths is None else function(self.widths),
        )


def draw_distortion(
    steps: int, batch: int, generator: Generator, *, blurred: float
) -> DistortionParams:
    """Draw the parameters of an epoch.

    Args:
        steps: batches of the epoch.
        batch: size of a batch, B.
        generator: on the CPU.
        blurred: probability that an image is blurred.
    """

    def draw(low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand(steps, batch, generator=generator, dtype=torch.float64)
        return drawn * (high - low) + low

    limits = (STRENGTH, STRENGTH, STRENGTH, HUE)
    strengths = torch.stack([draw(-limit, limit) for limit in limits], dim=2)
    orders = torch.stack([torch.randperm(4, generator=generator) for _ in range(steps)])
    jittered, grayed = draw() < JITTERED, draw() < GRAYED
    if not blurred:
        return DistortionParams(orders, strengths, jittered, grayed, None, None)
    widths = draw(*WIDTHS)
    return DistortionParams(orders, strengths, jittered, grayed, draw() < blurred, widths)


class DistortionEpoch:
    """Distortion of an epoch's batches.

    Args:
        params: of the epoch.
        device: of the images.
    """

    def __init__(self, params: DistortionParams, device: torch.device | str) -> None:
        self.orders = params.orders.tolist()
        self.params = params.map(lambda values: values.to(device))

    def __call__(self, step: int, images: Tensor) -> Tensor:
        """Return a step's distorted images.

        Args:
            step: of the epoch.
            images: [B, C, H, W] uint8, in color or gray.
        """
        params = self.params
        changes = (brightness, contrast, color, hue)
        jittered = images
        for i in self.orders[step]:
            jittered = changes[i](jittered, params.strengths[step, :, i])
        images = _replaced(images, jittered, params.jittered[step])
        grayed = gray(images).to(torch.uint8).expand_as(images)
        images = _replaced(images, grayed, params.grayed[step])
        if params.blurred is None or params.widths is None:
            return images
        return _replaced(images, blur(images, params.widths[step]), params.blurred[step])


def _replaced(images: Tensor, others: Tensor, chosen: Tensor) -> Tensor:
    """Return images with others in place of the chosen."""
    return torch.where(chosen[:, None, None, None], others, images)


def distort(images: Tensor, generator: Generator, *, blurred: float = 0.5) -> Tensor:
    """Return distorted copies of a batch of images.

    Args:
        images: [B, C, H, W] uint8, in color or gray.
        generator: on the CPU.
        blurred: probability that an image is blurred.
    """
    params = draw_distortion(1, len(images), generator, blurred=blurred)
    return DistortionEpoch(params, images.device)(0, images)


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hues of images; gray ones have none.

    Args:
        images: [B, C, H, W] uint8, in color or gray.
        turns: [B], in full circles.
    """
    if images.shape[1] == 1:
        return images
    pixels = images.float()
    red, green, blue = pixels.chunk(3, dim=1)
    value, lowest = pixels.amax(dim=1, keepdim=True), pixels.amin(dim=1, keepdim=True)
    chroma = value - lowest
    span = chroma.clamp_min(1)  # gray has no hue
    sector = torch.where(
        value == red,
        (green - blue) / span,
        torch.where(value == green, 2 + (blue - red) / span, 4 + (red - green) / span),
    )
    # A channel falls from the value to the lowest and rises again along the circle of six sectors.
    starts = pixels.new_tensor([5, 3, 1])[:, None, None]
    angle = (sector + 6 * turns.float()[:, None, None, None] + starts) % 6
    turned = value - chroma * torch.minimum(angle, 4 - angle).clamp(0, 1)
    return turned.round().to(torch.uint8)


def blur(images: Tensor, widths: Tensor) -> Tensor:
    """Blur images with Gaussians.

    Args:
        images: [B, C, H, W] uint8.
        widths: [B], standard deviations in pixels.
    """
    batch, channels = images.shape[:2]
    offsets = torch.arange(-RADIUS, RADIUS + 1, device=images.device)
    kernels = (-((offsets / widths.float()[:, None]) ** 2) / 2).softmax(dim=1)  # [B, 2 R + 1]
    kernels = kernels.repeat_interleave(channels, dim=0)[:, None, None]
    padded = F.pad(images.float(), (RADIUS,) * 4, mode="replicate")
    planes = padded.reshape(1, batch * channels, *padded.shape[2:])
    planes = F.conv2d(planes, kernels, groups=batch * channels)
    planes = F.conv2d(planes, kernels.transpose(2, 3), groups=batch * channels)
    return planes.view_as(images).round().to(torch.uint8)
