"""Crop, flip and normalise batches of images that stay on the device as padded bytes.

All images stand in one uint8 tensor, padded with zeros once. A crop is a window of it, so that a
batch of random crops is one gather of windows; no image is handled alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


class Placement(NamedTuple):
    """How images are cut from their padded originals; int64 tensors of one shape.

    Attributes:
        top: first row of the window, in 0..2 * padding.
        left: first column of the window, likewise.
        mirrored: 1 for images that are flipped left to right after the cut, else 0; None for none.
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Placement":
        """Return the placement with a function applied to each tensor."""
        mirrored = None if self.mirrored is None else function(self.mirrored)
        return Placement(function(self.top), function(self.left), mirrored)


def draw_placement(
    steps: int, batch: int, padding: int, generator: Generator, *, flip: bool
) -> Placement:
    """Draw the cuts of an epoch: windows uniform over the padded image, every second one mirrored.

    Args:
        steps: batches of the epoch.
        batch: images of a batch B.
        padding: pixels added on each side; 0 for no crop.
        generator: on the CPU.
        flip: whether images are mirrored with probability 1/2.

    Returns:
        Tensors [steps, B] on the CPU.
    """
    shape = (steps, batch)
    top = torch.randint(2 * padding + 1, shape, generator=generator)
    left = torch.randint(2 * padding + 1, shape, generator=generator)
    return Placement(top, left, torch.randint(2, shape, generator=generator) if flip else None)


class ResidentImages:
    """Images kept as bytes on a device, from which normalised batches are cut.

    Args:
        images: [N, C, H, W] uint8.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, likewise.
        padding: zeros on each side (pixel value 0, before normalisation).
        dtype: of the batches; arithmetic is in float32 at least.
        channels_last: memory format of the batches.
        device: where the images stay and the batches are made.
    """

    def __init__(
        self,
        images: Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        padding: int = 0,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.padding, self.dtype, self.channels_last = padding, dtype, channels_last
        count, channels, height, width = images.shape
        padded = F.pad(images.to(device), (padding,) * 4)
        # In memory a row is W pixels of one channel, or of all: `step` bytes from pixel to pixel.
        planes, self.step = (1, channels) if channels_last else (channels, 1)
        if channels_last:
            padded = padded.permute(0, 2, 3, 1)
        padded = padded.reshape(count, planes, height + 2 * padding, -1)
        self.window = (planes, height, width, self.step)
        inside = padded[0, :, :height, : width * self.step]
        reach = sum((n - 1) * s for n, s in zip(inside.shape, inside.stride(), strict=True))
        # [places, planes, H, W * step]: the window at every byte, of which gathers pick some.
        self.windows = padded.as_strided(
            (padded.numel() - reach, *inside.shape), (1, *inside.stride())
        )
        self.image_stride, _, self.row_stride, _ = padded.stride()
        arithmetic = torch.promote_types(dtype, torch.float32)
        self.scale, self.shift = (
            self._like_pixels(torch.tensor(values, dtype=torch.float64)).to(device, arithmetic)
            for values in (
                [1 / (255 * s) for s in std],
                [-m / s for m, s in zip(mean, std, strict=True)],
            )
        )

    def __call__(
        self,
        index: Tensor,
        placement: Placement | None = None,
        alter: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return images as floats [B, C, H, W].

        Args:
            index: [B] positions of the images, on the device.
            placement: of [B] tensors on the device; None for the images as they are.
            alter: what becomes of the bytes [B, C, H, W] before they are normalised; None for what
                they are.
        """
        if placement is None:
            pixels = self._cut(index, self.padding, self.padding)
        else:
            pixels = self._cut(index, placement.top, placement.left)
            if placement.mirrored is not None:
                pixels = self._mirror(pixels, placement.mirrored)
        pixels = pixels.flatten(1)
        if alter is not None:
            pixels = self._in_memory_order(alter(self._as_images(pixels)))
        values = pixels.to(self.scale.dtype).mul_(self.scale).add_(self.shift)
        return self._as_images(values.to(self.dtype))

    def _cut(self, index: Tensor, top: Tensor | int, left: Tensor | int) -> Tensor:
        """Return windows [B, planes, H, W * step]."""
        place = index * self.image_stride + top * self.row_stride + left * self.step
        return self.windows.index_select(0, place)

    def _mirror(self, pixels: Tensor, mirrored: Tensor) -> Tensor:
        """Flip some of the windows: choosing rows of both forms is faster than a masked copy."""
        batch = len(pixels)
        flipped = pixels.view(batch, *self.window).flip(3).view_as(pixels)
        rows = torch.arange(batch, device=pixels.device) + batch * mirrored
        return torch.cat([pixels, flipped]).index_select(0, rows)

    def _like_pixels(self, values: Tensor) -> Tensor:
        """Repeat a value a channel [C] for every pixel, in the order of memory [C * H * W]."""
        planes, height, width, step = self.window
        return values.view(planes, 1, 1, step).expand(planes, height, width, step).flatten()

    def _as_images(self, values: Tensor) -> Tensor:
        """Return values [B, C * H * W] in the order of memory as images [B, C, H, W]."""
        planes, height, width, step = self.window
        if self.channels_last:
            return values.view(-1, height, width, step).permute(0, 3, 1, 2)
        return values.view(-1, planes, height, width)

    def _in_memory_order(self, images: Tensor) -> Tensor:
        """Return images [B, C, H, W] as values [B, C * H * W], the inverse of `_as_images`."""
        if self.channels_last:
            images = images.permute(0, 2, 3, 1)
        return images.flatten(1)
