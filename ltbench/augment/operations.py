"""Image operations of AutoAugment and RandAugment, with a strength per image.

Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019 (arXiv:1805.09501),
table 6. Every operation takes images [B, C, H, W] uint8, gray or RGB, with strengths [B] float64
and returns new images; pixels from outside the image are mid-gray, as in the authors' code.

Names, signs and pixels are torchvision's, which follows PIL. Arithmetic is in integers and in
elementwise floats, so that the result for an image is equal on every device and in every batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

FILL = 128
"""Value of pixels from outside the image."""


def identity(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001 - as all operations
    """Return the images."""
    return images


def shear_x(images: Tensor, strengths: Tensor) -> Tensor:
    """Shear rows to the left, by distance from the top times strength."""
    return _warp(images, lambda x, y: (x + strengths[:, None, None] * (y + images.shape[2] / 2), y))


def shear_y(images: Tensor, strengths: Tensor) -> Tensor:
    """Shear columns upwards, by distance from the left times strength."""
    return _warp(images, lambda x, y: (x, y + strengths[:, None, None] * (x + images.shape[3] / 2)))


def translate_x(images: Tensor, strengths: Tensor) -> Tensor:
    """Move images to the right by pixels, rounded towards 0."""
    return _warp(images, lambda x, y: (x - strengths.trunc()[:, None, None], y))


def translate_y(images: Tensor, strengths: Tensor) -> Tensor:
    """Move images down by pixels, rounded towards 0."""
    return _warp(images, lambda x, y: (x, y - strengths.trunc()[:, None, None]))


def rotate(images: Tensor, strengths: Tensor) -> Tensor:
    """Rotate images counter-clockwise about their centers, in degrees."""
    angles = strengths.deg2rad()[:, None, None]
    cos, sin = angles.cos(), angles.sin()
    return _warp(images, lambda x, y: (cos * x - sin * y, sin * x + cos * y))


def brightness(images: Tensor, strengths: Tensor) -> Tensor:
    """Scale brightness: distances from black, by 1 + strength."""
    return _blend(torch.zeros_like(images), images, strengths)


def color(images: Tensor, strengths: Tensor) -> Tensor:
    """Scale saturation: distances from a pixel's gray, by 1 + strength."""
    return images if images.shape[1] == 1 else _blend(gray(images), images, strengths)


def contrast(images: Tensor, strengths: Tensor) -> Tensor:
    """Scale contrast: distances from the mean gray, by 1 + strength."""
    mean = gray(images).mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return _blend(mean, images, strengths)


def sharpness(images: Tensor, strengths: Tensor) -> Tensor:
    """Scale sharpness: distances from a smoothed image, by 1 + strength.

    It is smoothed by a 3 x 3 mean with weight 5 for the middle.
    """
    smooth = images.float()
    columns = smooth[..., :-2] + smooth[..., 1:-1] + smooth[..., 2:]
    box = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    middle = smooth[..., 1:-1, 1:-1]
    middle.copy_(((box + 4 * middle) / 13).round_())  # the border is not smoothed
    return _blend(smooth, images, strengths)


def posterize(images: Tensor, strengths: Tensor) -> Tensor:
    """Keep the highest bits of each byte; the strength is their number."""
    masks = (256 - 2 ** (8 - strengths)).to(torch.uint8)
    return images & masks[:, None, None, None]


def solarize(images: Tensor, strengths: Tensor) -> Tensor:
    """Invert bytes at or above the strength."""
    least = strengths.ceil().to(torch.uint8)[:, None, None, None]
    return torch.where(images >= least, 255 - images, images)


def autocontrast(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001
    """Stretch each channel to the range 0..255."""
    stretched: Tensor = transforms.autocontrast(images)
    return stretched


def equalize(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001
    """Equalize the histogram of each channel."""
    equalized: Tensor = transforms.equalize(images)
    return equalized


def invert(images: Tensor, strengths: Tensor) -> Tensor:  # noqa: ARG001
    """Invert each byte: 255 minus it."""
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
    """Return luminances [B, 1, H, W], integers."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.int().unbind(1)
    return ((2989 * red + 5870 * green + 1140 * blue) // 10000)[:, None]


def _warp(images: Tensor, source: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Warp images by nearest-neighbor sampling.

    Args:
        images: [B, C, H, W].
        source: maps columns [W] and rows [H, 1] of the result to columns and rows [B or 1, H, W] of
            the images, both relative to the center.
    """
    height, width = images.shape[2:]
    columns, rows = (
        torch.arange(size, device=images.device, dtype=torch.float64) - (size - 1) / 2
        for size in (width, height)
    )
    column, row = source(columns, rows[:, None])
    column, row = (column + (width - 1) / 2).round(), (row + (height - 1) / 2).round()
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)  # [B, H, W]
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    index = index.long().flatten(1)[:, None].expand(-1, images.shape[1], -1)  # [B, C, H * W]
    warped = images.flatten(2).gather(2, index).view_as(images)
    return warped.masked_fill_(outside[:, None], FILL)


def _blend(origin: Tensor, images: Tensor, strengths: Tensor) -> Tensor:
    """Scale distances from an origin by 1 + strength, truncated to bytes."""
    factors = (1 + strengths).float()[:, None, None, None]
    origin = origin.float()
    return (origin + factors * (images - origin)).clamp_(0, 255).to(torch.uint8)
