"""Random resized crops: batches of one size from images of any size.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv:1409.4842), as in torchvision's
`RandomResizedCrop`: a window of 8 to 100 % of the area with an aspect ratio of 3:4 to 4:3, resized
bilinearly with antialiasing. Resizing is two matrix products, one per side, so that windows of many
sizes are one batch; a flip reverses the columns' matrix.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

AREA = (0.08, 1.0)
SIDES = (3 / 4, 4 / 3)
TRIES = 10
"""Shapes that are drawn for an image; if none fits, the largest centered window is taken."""


class CropParams(NamedTuple):
    """Random parameters of resized crops, float64 in [0, 1).

    They do not depend on the images' sizes; `crop_boxes` turns them into windows.

    Attributes:
        shapes: [..., TRIES, 2] for area and aspect ratio.
        corners: [..., 2] for row and column.
        mirrored: [...] below 1/2 for images that are mirrored left to right; None for no flips.
    """

    shapes: Tensor
    corners: Tensor
    mirrored: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "CropParams":
        """Apply a function to each tensor."""
        mirrored = None if self.mirrored is None else function(self.mirrored)
        return CropParams(function(self.shapes), function(self.corners), mirrored)


def draw_crops(
    steps: int, batch: int, generator: Generator, *, flip: bool, smallest: float = AREA[0]
) -> CropParams:
    """Draw the parameters of an epoch, [steps, batch, ...] on the CPU.

    Args:
        steps: batches of the epoch.
        batch: size of a batch.
        generator: on the CPU.
        flip: whether to flip images with probability 1/2.
        smallest: share of the area that a window has at least, `AREA[0]` or more.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(steps, batch, *shape, dtype=torch.float64, generator=generator)

    shapes = uniform(TRIES, 2)
    kept = (AREA[1] - smallest) / (AREA[1] - AREA[0])  # of the range of areas
    shapes[..., 0] = shapes[..., 0] * kept + (1 - kept)
    return CropParams(shapes, uniform(2), uniform() if flip else None)


def crop_boxes(params: CropParams, sizes: Tensor) -> Tensor:
    """Return the windows of random crops.

    Args:
        params: of B images.
        sizes: [B, 2] height and width of each image.

    Returns:
        [B, 4] int64: top, left, height, width.
    """
    whole = sizes.double()
    area = whole.prod(dim=1, keepdim=True) * _between(params.shapes[..., 0], AREA)  # [B, TRIES]
    low, high = (math.log(side) for side in SIDES)
    sides = _between(params.shapes[..., 1], (low, high)).exp()
    shapes = torch.stack([area / sides, area * sides], dim=2).sqrt().round().long()
    fits = ((shapes > 0) & (shapes <= sizes[:, None])).all(dim=2)  # [B, TRIES]
    first = fits.int().argmax(dim=1)
    chosen = shapes[torch.arange(len(sizes), device=sizes.device), first]  # [B, 2]
    room = sizes - chosen + 1
    corner = (params.corners * room).long()
    drawn = torch.cat([corner, chosen], dim=1)
    return torch.where(fits.any(dim=1, keepdim=True), drawn, _largest_centered(sizes))


def _between(uniform: Tensor, ends: tuple[float, float]) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * uniform


def _largest_centered(sizes: Tensor) -> Tensor:
    """Return the largest centered windows [B, 4] of an allowed aspect ratio."""
    height, width = sizes.double().unbind(dim=1)
    tall = torch.minimum(height, (width / SIDES[0]).round())
    wide = torch.minimum(width, (height * SIDES[1]).round())
    shape = torch.stack([tall, wide], dim=1).long()
    return torch.cat([(sizes - shape) // 2, shape], dim=1)


def center_boxes(sizes: Tensor, side: int) -> Tensor:
    """Return centered square windows [B, 4].

    Halves are rounded to even, as in torchvision's `CenterCrop`.

    Args:
        sizes: [B, 2] height and width of each image.
        side: in pixels.
    """
    corner = ((sizes - side) / 2).round().long()
    return torch.cat([corner, torch.full_like(sizes, side)], dim=1)


def resize(
    windows: Tensor,
    shapes: Tensor,
    side: int,
    mirrored: Tensor | None = None,
    corners: Tensor | None = None,
) -> Tensor:
    """Resize windows of several shapes, bilinear with antialiasing.

    Args:
        windows: [B, C, H, W] floats, the images that windows are parts of.
        shapes: [B, 2] height and width of each window.
        side: of the result.
        mirrored: [B] bool, whether to flip left to right; None for no flips.
        corners: [B, 2] first row and column of each window; None for the upper left part.

    Returns:
        [B, C, side, side].
    """
    height, width = windows.shape[-2:]
    top, left = (None, None) if corners is None else corners.unbind(dim=1)
    rows = _weights(shapes[:, 0], height, side, windows.dtype, top)
    columns = _weights(shapes[:, 1], width, side, windows.dtype, left)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None, None], columns.flip(1), columns)
    return rows[:, None] @ windows @ columns[:, None].mT


def _weights(
    lengths: Tensor, longest: int, side: int, dtype: torch.dtype, starts: Tensor | None = None
) -> Tensor:
    """Return the weights of pixels in each resized one, [B, side, longest]."""
    scale = lengths[:, None, None].double() / side
    points = (torch.arange(side, device=lengths.device)[:, None] + 0.5) * scale
    pixels = torch.arange(longest, device=lengths.device) + 0.5
    if starts is not None:
        pixels = pixels - starts[:, None, None]
    reach = scale.clamp(min=1)
    weights = (1 - (pixels - points).abs() / reach).clamp(min=0)
    weights = weights * ((pixels > 0) & (pixels < lengths[:, None, None]))
    return (weights / weights.sum(dim=2, keepdim=True)).to(dtype)
