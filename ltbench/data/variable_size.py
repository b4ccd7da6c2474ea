"""Batches of images of any size: crops are read ahead, the rest is done on the device."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from ltbench.augment import (
    CropParams,
    JitterParams,
    center_boxes,
    crop_boxes,
    draw_crops,
    draw_jitter,
    jitter,
    resize,
)
from ltbench.data.images import Images

AHEAD = 2
"""Batches that are read while the device works on another."""


class CropJitterParams(NamedTuple):
    """What is drawn for images [...]: their crops, and their colors, None for no change."""

    crops: CropParams
    colors: JitterParams | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "CropJitterParams":
        """Return the draws with a function applied to each tensor."""
        colors = None if self.colors is None else self.colors.map(function)
        return CropJitterParams(self.crops.map(function), colors)


class CropBatch(NamedTuple):
    """Crops of images on the CPU, each in the upper left of its place.

    Attributes:
        pixels: [B, H, W, C] uint8.
        shapes: [B, 2] height and width of each crop.
        mirrored: [B] bool, whether it is to be flipped; None for none.
    """

    pixels: Tensor
    shapes: Tensor
    mirrored: Tensor | None


class VariableSizeBatches:
    """Cuts normalized batches of one size from images of any size.

    Args:
        images: in files or in a cache.
        side: height and width of the images of a batch.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, likewise.
        flip: whether augmented images are flipped left to right with probability 1/2.
        jitter: strength of changes of their colors.
        dtype: of the batches; arithmetic is in float32 at least.
        channels_last: memory format of the batches.
        device: where the batches are made.
    """

    def __init__(
        self,
        images: Images,
        side: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        flip: bool = False,
        jitter: float = 0.0,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.images, self.side = images, side
        self.flip, self.jitter = flip, jitter
        self.dtype, self.device = dtype, torch.device(device)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.arithmetic = torch.promote_types(dtype, torch.float32)
        self.mean, self.std = (
            torch.tensor(values, device=device, dtype=self.arithmetic).view(1, -1, 1, 1)
            for values in (mean, std)
        )
        self.reader = ThreadPoolExecutor(1)

    def draw(self, steps: int, batch: int, streams: Callable[[str], Generator]) -> CropJitterParams:
        """Draw the crops, flips and colors of an epoch, tensors [steps, batch, ...] on the CPU.

        Args:
            steps: batches of the epoch.
            batch: images of a batch.
            streams: returns a generator for a purpose.
        """
        crops = draw_crops(steps, batch, streams("augmentation"), flip=self.flip)
        colors = None
        if self.jitter:
            colors = draw_jitter(steps, batch, self.jitter, streams("color"))
        return CropJitterParams(crops, colors)

    def epoch(
        self,
        index: Tensor,
        draws: CropJitterParams,
        alter: Callable[[int, Tensor], Tensor] | None = None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch, while a thread reads the next ones.

        Args:
            index: [steps, B] positions of images, on the CPU.
            draws: of [steps, B, ...] tensors, on the CPU.
            alter: what becomes of the bytes of a step before they are normalized.
            first: step to begin with.
        """

        def read(step: int) -> Future[CropBatch]:
            crops = draws.crops.map(itemgetter(step))
            return self.reader.submit(self._crop, index[step], crops)

        coming: deque[Future[CropBatch]] = deque()
        for step in range(first, len(index)):
            while len(coming) <= AHEAD and step + len(coming) < len(index):
                coming.append(read(step + len(coming)))
            batch = coming.popleft().result()
            colors = None if draws.colors is None else draws.colors.map(itemgetter(step))
            yield self._images(batch, colors, None if alter is None else partial(alter, step))

    def __call__(
        self,
        index: Tensor,
        draws: CropJitterParams | None = None,
        alter: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return a batch as floats [B, C, side, side].

        Args:
            index: [B] positions of the images.
            draws: of [B, ...] tensors, on the CPU; None for the middle of each image as it is.
            alter: what becomes of the bytes [B, C, side, side] before they are normalized; None for
                what they are.
        """
        if draws is None:
            return self._images(self._crop(index, None), None, alter)
        return self._images(self._crop(index, draws.crops), draws.colors, alter)

    def _crop(self, index: Tensor, crops: CropParams | None) -> CropBatch:
        images = self.images.read(index.tolist())
        sizes = torch.tensor([image.shape[:2] for image in images])
        boxes = center_boxes(sizes, self.side) if crops is None else crop_boxes(crops, sizes)
        height, width = boxes[:, 2:].amax(dim=0).tolist()
        pixels = torch.zeros(
            (len(images), height, width, images[0].shape[2]),
            dtype=torch.uint8,
            pin_memory=self.device.type == "cuda",
        )
        places: Sequence[Sequence[int]] = boxes.tolist()
        for target, image, (top, left, h, w) in zip(pixels.numpy(), images, places, strict=True):
            np.copyto(target[:h, :w], image[top : top + h, left : left + w])
        mirrored = None if crops is None or crops.mirrored is None else crops.mirrored < 0.5
        return CropBatch(pixels, boxes[:, 2:], mirrored)

    def _images(
        self,
        batch: CropBatch,
        colors: JitterParams | None,
        alter: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        pixels = batch.pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = pixels.to(self.arithmetic) / 255
        mirrored = None if batch.mirrored is None else batch.mirrored.to(self.device)
        if mirrored is not None or images.shape[-2:] != (self.side, self.side):
            images = resize(images, batch.shapes.to(self.device), self.side, mirrored)
        if colors is not None:
            images = jitter(images, colors.map(lambda values: values.to(self.device)))
        if alter is not None:
            images = alter((255 * images).round().to(torch.uint8)).to(self.arithmetic) / 255
        images = (images - self.mean) / self.std
        return images.to(self.dtype).contiguous(memory_format=self.format)
