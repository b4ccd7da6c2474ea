"""Random parts of images, of any size and shape, as batches of one size.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv:1409.4842), in the form that
torchvision's `RandomResizedCrop` has made the standard: a part of 8 to 100 % of the area with sides
of 3:4 to 4:3, bilinear with antialiasing. A window is resized by two matrix products, one a side,
so that windows of many sizes are one batch; a mirrored image is one whose columns are asked for
from the right.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

AREA = (0.08, 1.0)
SIDES = (3 / 4, 4 / 3)
TRIES = 10
"""Shapes that are drawn for an image before the largest part in its middle is taken."""


class CropParams(NamedTuple):
    """Numbers that say the crops of images whose sizes are not known yet; float64 in [0, 1).

    Attributes:
        shapes: [..., TRIES, 2] for area and shape.
        places: [..., 2] for row and column.
        mirrored: [...] below 1/2 for images that are flipped left to right; None for none.
    """

    shapes: Tensor
    places: Tensor
    mirrored: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "CropParams":
        """Return the draws with a function applied to each tensor."""
        mirrored = None if self.mirrored is None else function(self.mirrored)
        return CropParams(function(self.shapes), function(self.places), mirrored)


def draw_crops(steps: int, batch: int, generator: Generator, *, flip: bool) -> CropParams:
    """Draw the crops of an epoch, tensors [steps, batch, ...] on the CPU.

    Args:
        steps: batches of the epoch.
        batch: images of a batch.
        generator: on the CPU.
        flip: whether images are mirrored with probability 1/2.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(steps, batch, *shape, dtype=torch.float64, generator=generator)

    return CropParams(uniform(TRIES, 2), uniform(2), uniform() if flip else None)


def crop_boxes(draws: CropParams, sizes: Tensor) -> Tensor:
    """Return the windows [B, 4] (top, left, height, width), int64, that draws cut from images.

    Args:
        draws: of B images.
        sizes: [B, 2] height and width of each image.
    """
    whole = sizes.double()
    area = whole.prod(dim=1, keepdim=True) * _between(draws.shapes[..., 0], AREA)  # [B, TRIES]
    low, high = (math.log(side) for side in SIDES)
    sides = _between(draws.shapes[..., 1], (low, high)).exp()
    shapes = torch.stack([area / sides, area * sides], dim=2).sqrt().round().long()
    fits = ((shapes > 0) & (shapes <= sizes[:, None])).all(dim=2)  # [B, TRIES]
    first = fits.int().argmax(dim=1)
    chosen = shapes[torch.arange(len(sizes)), first]  # [B, 2]
    room = sizes - chosen + 1
    corner = (draws.places * room).long()
    drawn = torch.cat([corner, chosen], dim=1)
    return torch.where(fits.any(dim=1, keepdim=True), drawn, _middle(sizes))


def _between(uniform: Tensor, ends: tuple[float, float]) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * uniform


def _middle(sizes: Tensor) -> Tensor:
    """Return the largest windows [B, 4] in the middle whose shape is allowed."""
    height, width = sizes.double().unbind(dim=1)
    tall = torch.minimum(height, (width / SIDES[0]).round())
    wide = torch.minimum(width, (height * SIDES[1]).round())
    shape = torch.stack([tall, wide], dim=1).long()
    return torch.cat([(sizes - shape) // 2, shape], dim=1)


def center_boxes(sizes: Tensor, side: int) -> Tensor:
    """Return the windows [B, 4] of `side` x `side` pixels in the middle of images of sizes [B, 2].

    Halves are rounded to even, as torchvision's `CenterCrop` does.
    """
    corner = ((sizes - side) / 2).round().long()
    return torch.cat([corner, torch.full_like(sizes, side)], dim=1)


def resize(windows: Tensor, shapes: Tensor, side: int, mirrored: Tensor | None = None) -> Tensor:
    """Return windows of several shapes as images [B, C, side, side], bilinear with antialiasing.

    Args:
        windows: [B, C, H, W] floats; each window fills the upper left part of its image.
        shapes: [B, 2] height and width of each window.
        side: of the result.
        mirrored: [B] bool, whether to flip left to right; None for none.
    """
    height, width = windows.shape[-2:]
    rows = _weights(shapes[:, 0], height, side, windows.dtype)
    columns = _weights(shapes[:, 1], width, side, windows.dtype)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None, None], columns.flip(1), columns)
    return rows[:, None] @ windows @ columns[:, None].mT


def _weights(lengths: Tensor, longest: int, side: int, dtype: torch.dtype) -> Tensor:
    """Return what each of `side` points takes of each of the pixels, [B, side, longest]."""
    scale = lengths[:, None, None].double() / side
    points = (torch.arange(side, device=lengths.device)[:, None] + 0.5) * scale
    pixels = torch.arange(longest, device=lengths.device) + 0.5
    reach = scale.clamp(min=1)
    weights = (1 - (pixels - points).abs() / reach).clamp(min=0)
    weights = weights * (pixels < lengths[:, None, None])
    return (weights / weights.sum(dim=2, keepdim=True)).to(dtype)
