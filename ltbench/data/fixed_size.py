"""Batches of fixed-size images, kept on the device as padded bytes.

Images are cropped, flipped and normalized. All images are one uint8 tensor, zero-padded once. A
crop is a window of it, so that a batch of random crops is one gather of windows, without a loop
over images. Distorted views have random resized crops instead.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ltbench.augment import (
    SMALLEST,
    CropFlipParams,
    CropParams,
    crop_boxes,
    draw_crop_flip,
    draw_crops,
    resize,
)


class FixedSizeBatches:
    """Makes normalized batches of fixed-size images kept as bytes on a device.

    Args:
        pixels: [N, C, H, W] uint8.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, likewise.
        padding: zeros on each side (pixel value 0, before normalization).
        flip: whether augmented images are flipped horizontally with probability 1/2.
        dtype: of the batches; arithmetic is in float32 at least.
        channels_last: memory format of the batches.
        device: of the images and the batches.
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
        # A row in memory is W pixels of one channel, or of all: `step` bytes from pixel to pixel.
        planes, self.step = (1, channels) if channels_last else (channels, 1)
        if channels_last:
            padded = padded.permute(0, 2, 3, 1)
        padded = padded.reshape(count, planes, height + 2 * padding, -1)
        self.window = (planes, height, width, self.step)
        inside = padded[0, :, :height, : width * self.step]
        span = sum((n - 1) * s for n, s in zip(inside.shape, inside.stride(), strict=True))
        # [offsets, planes, H, W * step]: the window that starts at each byte.
        self.windows = padded.as_strided(
            (padded.numel() - span, *inside.shape), (1, *inside.stride())
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

    def draw(
        self,
        steps: int,
        batch: int,
        generators: Callable[[str], Generator],
        *,
        distorted: bool = False,
    ) -> CropFlipParams | CropParams:
        """Draw the crop and flip parameters of an epoch.

        Args:
            steps: batches of the epoch.
            batch: images of a batch.
            generators: returns the generator for a purpose.
            distorted: whether to draw random resized crops.

        Returns:
            Tensors [steps, batch, ...] on the CPU.
        """
        generator = generators("augmentation")
        if distorted:
            return draw_crops(steps, batch, generator, flip=self.flip, smallest=SMALLEST)
        return draw_crop_flip(steps, batch, self.padding, generator, flip=self.flip)

    def epoch(
        self,
        index: Tensor,
        params: CropFlipParams | CropParams,
        transform: Callable[[int, Tensor], Tensor] | None = None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch.

        Args:
            index: [steps, B] positions of images.
            params: of [steps, B, ...] tensors.
            transform: of a step's uint8 images, before normalization.
            first: step to begin with.
        """
        index, params = index.to(self.device), params.map(self._to_device)
        for step in range(first, len(index)):
            of_step = None if transform is None else partial(transform, step)
            yield self._make(index[step], params.map(itemgetter(step)), of_step)

    def __call__(
        self,
        index: Tensor,
        params: CropFlipParams | CropParams | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return a batch as floats [B, C, H, W].

        Args:
            index: [B] positions of the images, on the device.
            params: of [B, ...] tensors; None for no augmentation.
            transform: of the uint8 images [B, C, H, W], before normalization.
        """
        return self._make(index, None if params is None else params.map(self._to_device), transform)

    def _make(
        self,
        index: Tensor,
        params: CropFlipParams | CropParams | None,
        transform: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Return a batch; index and parameters are on the device."""
        if params is None:
            pixels = self._crop(index, self.padding, self.padding)
        elif isinstance(params, CropParams):
            pixels = self._resized_crop(index, params)
        else:
            pixels = self._crop(index, params.top, params.left)
            if params.mirrored is not None:
                pixels = self._flip(pixels, params.mirrored)
        pixels = pixels.flatten(1)
        if transform is not None:
            pixels = self._in_memory_order(transform(self._as_images(pixels)))
        values = pixels.to(self.scale.dtype).mul_(self.scale).add_(self.shift)
        return self._as_images(values.to(self.dtype))

    def _to_device(self, values: Tensor) -> Tensor:
        return values.to(self.device)

    def _crop(self, index: Tensor, top: Tensor | int, left: Tensor | int) -> Tensor:
        """Return windows [B, planes, H, W * step]."""
        offset = index * self.image_stride + top * self.row_stride + left * self.step
        return self.windows.index_select(0, offset)

    def _resized_crop(self, index: Tensor, params: CropParams) -> Tensor:
        """Return windows of random shapes, resized to images, as rows of pixels."""
        whole = self._as_images(self._crop(index, self.padding, self.padding).flatten(1))
        height, width = whole.shape[2:]
        sizes = torch.tensor([[height, width]], device=self.device).expand(len(whole), -1)
        boxes = crop_boxes(params, sizes)
        mirrored = None if params.mirrored is None else params.mirrored < 0.5
        images = resize(whole.float(), boxes[:, 2:], height, mirrored, corners=boxes[:, :2])
        return self._in_memory_order(images.round().to(torch.uint8))

    def _flip(self, pixels: Tensor, mirrored: Tensor) -> Tensor:
        """Flip some windows; selecting rows is faster than a masked copy."""
        batch = len(pixels)
        flipped = pixels.view(batch, *self.window).flip(3).view_as(pixels)
        rows = torch.arange(batch, device=pixels.device) + batch * mirrored
        return torch.cat([pixels, flipped]).index_select(0, rows)

    def _like_pixels(self, values: Tensor) -> Tensor:
        """Expand channel values [C] to all pixels, in memory order."""
        planes, height, width, step = self.window
        return values.view(planes, 1, 1, step).expand(planes, height, width, step).flatten()

    def _as_images(self, values: Tensor) -> Tensor:
        """View rows of pixels in memory order as images."""
        planes, height, width, step = self.window
        if self.channels_last:
            return values.view(-1, height, width, step).permute(0, 3, 1, 2)
        return values.view(-1, planes, height, width)

    def _in_memory_order(self, images: Tensor) -> Tensor:
        """Flatten images to rows of pixels, the inverse of `_as_images`."""
        if self.channels_last:
            images = images.permute(0, 2, 3, 1)
        return images.flatten(1)
