"""Batches of variable-size images, with crops prefetched on the CPU.

The rest is done on the device.
"""

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
    SMALLEST,
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

PREFETCH = 2
"""Batches prefetched while the device works on another."""


class CropJitterParams(NamedTuple):
    """Crop and color parameters of images [...]; colors are None without jitter."""

    crops: CropParams
    colors: JitterParams | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "CropJitterParams":
        """Return the parameters with a function applied to each tensor."""
        colors = None if self.colors is None else self.colors.map(function)
        return CropJitterParams(self.crops.map(function), colors)


class CropBatch(NamedTuple):
    """Crops of images on the CPU, zero-padded to one size.

    Attributes:
        pixels: [B, H, W, C] uint8.
        shapes: [B, 2] height and width of each crop.
        mirrored: [B] bool, crops to be flipped; None for none.
    """

    pixels: Tensor
    shapes: Tensor
    mirrored: Tensor | None


class VariableSizeBatches:
    """Makes normalized batches of one size from images of any size.

    Args:
        images: in files or in a cache.
        side: height and width of the images of a batch.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, likewise.
        flip: whether augmented images are flipped horizontally with probability 1/2.
        jitter: strength of the color jitter.
        dtype: of the batches; arithmetic is in float32 at least.
        channels_last: memory format of the batches.
        device: of the batches.
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

    def draw(
        self,
        steps: int,
        batch: int,
        generators: Callable[[str], Generator],
        *,
        distorted: bool = False,
    ) -> CropJitterParams:
        """Draw the crop, flip and color parameters of an epoch.

        Args:
            steps: batches of the epoch.
            batch: images of a batch.
            generators: returns the generator for a purpose.
            distorted: whether to draw crops of distorted views, without color jitter.

        Returns:
            Tensors [steps, batch, ...] on the CPU.
        """
        generator = generators("augmentation")
        if distorted:
            crops = draw_crops(steps, batch, generator, flip=self.flip, smallest=SMALLEST)
            return CropJitterParams(crops, None)
        crops = draw_crops(steps, batch, generator, flip=self.flip)
        colors = None
        if self.jitter:
            colors = draw_jitter(steps, batch, self.jitter, generators("colour"))
        return CropJitterParams(crops, colors)

    def epoch(
        self,
        index: Tensor,
        params: CropJitterParams,
        transform: Callable[[int, Tensor], Tensor] | None = None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch while a thread prefetches.

        Args:
            index: [steps, B] positions of images, on the CPU.
            params: of [steps, B, ...] tensors, on the CPU.
            transform: of a step's uint8 images, before normalization.
            first: step to begin with.
        """

        def read(step: int) -> Future[CropBatch]:
            crops = params.crops.map(itemgetter(step))
            return self.reader.submit(self._crop, index[step], crops)

        queue: deque[Future[CropBatch]] = deque()
        for step in range(first, len(index)):
            while len(queue) <= PREFETCH and step + len(queue) < len(index):
                queue.append(read(step + len(queue)))
            batch = queue.popleft().result()
            colors = None if params.colors is None else params.colors.map(itemgetter(step))
            of_step = None if transform is None else partial(transform, step)
            yield self._images(batch, colors, of_step)

    def __call__(
        self,
        index: Tensor,
        params: CropJitterParams | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return a batch as floats [B, C, side, side].

        Args:
            index: [B] positions of the images; none in the share of a rank without images.
            params: of [B, ...] tensors, on the CPU; None for the center crops.
            transform: of the uint8 images [B, C, side, side], before normalization.
        """
        if len(index) == 0:
            shape = 0, self.mean.shape[1], self.side, self.side
            return torch.empty(shape, dtype=self.dtype, device=self.device)
        if params is None:
            return self._images(self._crop(index, None), None, transform)
        return self._images(self._crop(index, params.crops), params.colors, transform)

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
        windows: Sequence[Sequence[int]] = boxes.tolist()
        for target, image, (top, left, h, w) in zip(pixels.numpy(), images, windows, strict=True):
            np.copyto(target[:h, :w], image[top : top + h, left : left + w])
        mirrored = None if crops is None or crops.mirrored is None else crops.mirrored < 0.5
        return CropBatch(pixels, boxes[:, 2:], mirrored)

    def _images(
        self,
        batch: CropBatch,
        colors: JitterParams | None,
        transform: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        pixels = batch.pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = pixels.to(self.arithmetic) / 255
        mirrored = None if batch.mirrored is None else batch.mirrored.to(self.device)
        if mirrored is not None or images.shape[-2:] != (self.side, self.side):
            images = resize(images, batch.shapes.to(self.device), self.side, mirrored)
        if colors is not None:
            images = jitter(images, colors.map(lambda values: values.to(self.device)))
        if transform is not None:
            images = transform((255 * images).round().to(torch.uint8)).to(self.arithmetic) / 255
        images = (images - self.mean) / self.std
        return images.to(self.dtype).contiguous(memory_format=self.format)
