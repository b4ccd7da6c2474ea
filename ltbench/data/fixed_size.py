"""Batches of images of one size, which stay on the device as padded bytes: crop, flip, normalize.

All images stand in one uint8 tensor, padded with zeros once. A crop is a window of it, so that a
batch of random crops is one gather of windows; no image is handled alone.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ltbench.augment import CropFlipParams, draw_crop_flip


class FixedSizeBatches:
    """Cuts normalized batches from images of one size that are kept as bytes on a device.

    Args:
        pixels: [N, C, H, W] uint8.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, likewise.
        padding: zeros on each side (pixel value 0, before normalization).
        flip: whether augmented images are flipped left to right with probability 1/2.
        dtype: of the batches; arithmetic is in float32 at least.
        channels_last: memory format of the batches.
        device: where the images stay and the batches are made.
    """

    def __init__(
        self,
        pixels: Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        padding: int = 0,
        flip: bool = False,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.padding, self.flip, self.device = padding, flip, torch.device(device)
        self.dtype, self.channels_last = dtype, channels_last
        count, channels, height, width = pixels.shape
        padded = F.pad(pixels.to(device), (padding,) * 4)
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

    def draw(self, steps: int, batch: int, streams: Callable[[str], Generator]) -> CropFlipParams:
        """Draw the crops and flips of an epoch, tensors [steps, batch] on the CPU.

        Args:
            steps: batches of the epoch.
            batch: images of a batch.
            streams: returns a generator for a purpose.
        """
        return draw_crop_flip(steps, batch, self.padding, streams("augmentation"), flip=self.flip)

    def epoch(
        self,
        index: Tensor,
        draws: CropFlipParams,
        alter: Callable[[int, Tensor], Tensor] | None = None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch.

        Args:
            index: [steps, B] positions of images.
            draws: of [steps, B] tensors.
            alter: what becomes of the bytes of a step before they are normalized.
            first: step to begin with.
        """
        index, draws = index.to(self.device), draws.map(self._here)
        for step in range(first, len(index)):
            altered = None if alter is None else partial(alter, step)
            yield self._make(index[step], draws.map(itemgetter(step)), altered)

    def __call__(
        self,
        index: Tensor,
        draws: CropFlipParams | None = None,
        alter: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return a batch as floats [B, C, H, W].

        Args:
            index: [B] positions of the images, on the device.
            draws: of [B] tensors; None for the images as they are.
            alter: what becomes of the bytes [B, C, H, W] before they are normalized; None for what
                they are.
        """
        return self._make(index, None if draws is None else draws.map(self._here), alter)

    def _make(
        self,
        index: Tensor,
        draws: CropFlipParams | None,
        alter: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Return a batch whose draws are on the device."""
        if draws is None:
            pixels = self._cut(index, self.padding, self.padding)
        else:
            pixels = self._cut(index, draws.top, draws.left)
            if draws.mirrored is not None:
                pixels = self._mirror(pixels, draws.mirrored)
        pixels = pixels.flatten(1)
        if alter is not None:
            pixels = self._in_memory_order(alter(self._as_images(pixels)))
        values = pixels.to(self.scale.dtype).mul_(self.scale).add_(self.shift)
        return self._as_images(values.to(self.dtype))

    def _here(self, values: Tensor) -> Tensor:
        return values.to(self.device)

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
