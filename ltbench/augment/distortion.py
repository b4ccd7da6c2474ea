"""Color and blur augmentation of batches, for views in contrastive learning.

Chen, Fan, Girshick, He, "Improved Baselines with Momentum Contrastive Learning", 2020
(arXiv:2003.04297), after SimCLR. With probability 0.8 brightness, contrast and saturation change by
a factor in [0.6, 1.4] and hue by up to a tenth of the circle; with probability 0.2 an image becomes
gray; with a given probability it is blurred by a Gaussian with a standard deviation in [0.1, 2]
pixels. The order of the four changes is drawn per batch, all else per image.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ltbench.augment.operations import brightness, color, contrast, gray

STRENGTH, HUE = 0.4, 0.1
WIDTHS = (0.1, 2.0)
RADIUS = 6
"""Radius of the Gaussian's kernel in pixels: three times the largest width."""


def distort(images: Tensor, generator: Generator, *, blurred: float = 0.5) -> Tensor:
    """Return distorted copies of images.

    Args:
        images: [B, 3, H, W] uint8.
        generator: on the CPU.
        blurred: probability that an image is blurred.
    """

    def draw(low: float, high: float) -> Tensor:
        drawn = torch.rand(len(images), generator=generator, dtype=torch.float64)
        return (drawn * (high - low) + low).to(images.device)

    def sometimes(probability: float, changed: Tensor) -> Tensor:
        return torch.where(draw(0, 1)[:, None, None, None] < probability, changed, images)

    changes = (
        (brightness, draw(-STRENGTH, STRENGTH)),
        (contrast, draw(-STRENGTH, STRENGTH)),
        (color, draw(-STRENGTH, STRENGTH)),
        (hue, draw(-HUE, HUE)),
    )
    jittered = images
    for i in torch.randperm(len(changes), generator=generator).tolist():
        change, strengths = changes[i]
        jittered = change(jittered, strengths)
    images = sometimes(0.8, jittered)
    images = sometimes(0.2, gray(images).to(torch.uint8).expand_as(images))
    return sometimes(blurred, blur(images, draw(*WIDTHS)))


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hues of images.

    Args:
        images: [B, 3, H, W] uint8.
        turns: [B], in full circles.
    """
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
