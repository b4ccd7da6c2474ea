"""The image operations of AutoAugment and RandAugment, on batches with a strength an image.

Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019 (arXiv:1805.09501),
table 6. Every operation takes images [B, C, H, W] uint8, gray or RGB, with strengths [B] float64
and returns new images; what comes in from outside the image is mid-gray, as in the authors' code.

Names, signs and pixels are torchvision's, which follows PIL. Arithmetic is in whole numbers and in
elementwise floats, so that an image comes out the same on every device and in every batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

FILL = 128
"""Byte of the pixels that an operation moves in from outside the image."""


def identity(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001 - as all operations
    """Return the images."""
    return images


def shear_x(images: Tensor, strengths: Tensor) -> Tensor:
    """Move each row to the left, by its distance from the top times the strength."""
    return _warp(images, lambda x, y: (x + strengths[:, None, None] * (y + images.shape[2] / 2), y))


def shear_y(images: Tensor, strengths: Tensor) -> Tensor:
    """Move each column up, by its distance from the left times the strength."""
    return _warp(images, lambda x, y: (x, y + strengths[:, None, None] * (x + images.shape[3] / 2)))


def translate_x(images: Tensor, strengths: Tensor) -> Tensor:
    """Move images to the right by a number of pixels, of which whole ones count."""
    return _warp(images, lambda x, y: (x - strengths.trunc()[:, None, None], y))


def translate_y(images: Tensor, strengths: Tensor) -> Tensor:
    """Move images down by a number of pixels, of which whole ones count."""
    return _warp(images, lambda x, y: (x, y - strengths.trunc()[:, None, None]))


def rotate(images: Tensor, strengths: Tensor) -> Tensor:
    """Turn images counter-clockwise about their centres by an angle in degrees."""
    angles = strengths.deg2rad()[:, None, None]
    cos, sin = angles.cos(), angles.sin()
    return _warp(images, lambda x, y: (cos * x - sin * y, sin * x + cos * y))


def brightness(images: Tensor, strengths: Tensor) -> Tensor:
    """Move pixels away from black by a strength above -1."""
    return _blend(torch.zeros_like(images), images, strengths)


def color(images: Tensor, strengths: Tensor) -> Tensor:
    """Move pixels away from their gray by a strength above -1; gray images stay as they are."""
    return images if images.shape[1] == 1 else _blend(gray(images), images, strengths)


def contrast(images: Tensor, strengths: Tensor) -> Tensor:
    """Move pixels away from the image's mean gray by a strength above -1."""
    mean = gray(images).mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return _blend(mean, images, strengths)


def sharpness(images: Tensor, strengths: Tensor) -> Tensor:
    """Move pixels away from a mean over 3 x 3 of them, the own counted five times."""
    smooth = images.float()
    columns = smooth[..., :-2] + smooth[..., 1:-1] + smooth[..., 2:]
    box = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    middle = smooth[..., 1:-1, 1:-1]
    middle.copy_(((box + 4 * middle) / 13).round_())  # the border stays that of the images
    return _blend(smooth, images, strengths)


def posterize(images: Tensor, strengths: Tensor) -> Tensor:
    """Keep the highest bits of each byte, as many as the strength says."""
    masks = (256 - 2 ** (8 - strengths)).to(torch.uint8)
    return images & masks[:, None, None, None]


def solarize(images: Tensor, strengths: Tensor) -> Tensor:
    """Invert bytes that are at least as large as the strength."""
    least = strengths.ceil().to(torch.uint8)[:, None, None, None]
    return torch.where(images >= least, 255 - images, images)


def autocontrast(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001
    """Stretch each channel to all of 0..255."""
    stretched: Tensor = transforms.autocontrast(images)
    return stretched


def equalize(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001
    """Level the histogram of each channel."""
    levelled: Tensor = transforms.equalize(images)
    return levelled


def invert(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001
    """Subtract each byte from 255."""
    return 255 - images


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Identity": identity,
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
    "Brightness": brightness,
    "Color": color,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": autocontrast,
    "Equalize": equalize,
    "Invert": invert,
}
"""Operations by torchvision's names; the first fourteen are those of RandAugment."""


def gray(images: Tensor) -> Tensor:
    """Return luminances [B, 1, H, W] in whole numbers."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.int().unbind(1)
    return ((2989 * red + 5870 * green + 1140 * blue) // 10000)[:, None]


def _warp(images: Tensor, source: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Take each pixel from the nearest to a place in the image, places from its center.

    Args:
        images: [B, C, H, W].
        source: columns and rows to take from [B or 1, H, W], of columns [W] and rows [H, 1].
    """
    height, width = images.shape[2:]
    columns, rows = (
        torch.arange(size, device=images.device, dtype=torch.float64) - (size - 1) / 2
        for size in (width, height)
    )
    column, row = source(columns, rows[:, None])
    column, row = (column + (width - 1) / 2).round(), (row + (height - 1) / 2).round()
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)  # [B, H, W]
    places = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    places = places.long().flatten(1)[:, None].expand(-1, images.shape[1], -1)  # [B, C, H * W]
    taken = images.flatten(2).gather(2, places).view_as(images)
    return taken.masked_fill_(outside[:, None], FILL)


def _blend(origin: Tensor, images: Tensor, strengths: Tensor) -> Tensor:
    """Return origin + (1 + strength) * (images - origin) as bytes, the fraction cut off."""
    factors = (1 + strengths).float()[:, None, None, None]
    origin = origin.float()
    return (origin + factors * (images - origin)).clamp_(0, 255).to(torch.uint8)
