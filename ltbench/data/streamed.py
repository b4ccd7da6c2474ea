"""Batches of images that do not fit on a device: windows are read ahead, the rest is done there."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ltbench.augment import (
    CropDraws,
    JitterDraws,
    centre_boxes,
    crop_boxes,
    jitter,
    resize,
)
from ltbench.data.image_store import ImageStore
from ltbench.data.pool import Images, Labels

AHEAD = 2
"""Batches that are read while the device works on another."""


@dataclass(frozen=True)
class Stored:
    """Images at some positions of a store."""

    store: ImageStore
    positions: Labels

    def __getitem__(self, index: Tensor) -> "Stored":
        """Return some of the images."""
        return Stored(self.store, self.positions[index.numpy()])

    def load(self, index: Labels) -> list[Images]:
        """Return the images of an index into the positions."""
        return self.store.load(self.positions[index].tolist())


class Windows(NamedTuple):
    """Parts of images on the CPU, each in the upper left of its place.

    Attributes:
        pixels: [B, H, W, C] uint8.
        shapes: [B, 2] height and width of each part.
        mirrored: [B] bool, whether it is to be flipped; None for none.
    """

    pixels: Tensor
    shapes: Tensor
    mirrored: Tensor | None


class StreamedImages:
    """Images of any size, from which batches of normalised ones of one size are made.

    Args:
        stored: what images are read from.
        side: height and width of the images of a batch.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, likewise.
        dtype: of the batches; arithmetic is in float32 at least.
        channels_last: memory format of the batches.
        device: where the batches are made.
    """

    def __init__(
        self,
        stored: Stored,
        side: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.stored, self.side = stored, side
        self.dtype, self.device = dtype, torch.device(device)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.arithmetic = torch.promote_types(dtype, torch.float32)
        self.mean, self.std = (
            torch.tensor(values, device=device, dtype=self.arithmetic).view(1, -1, 1, 1)
            for values in (mean, std)
        )
        self.reader = ThreadPoolExecutor(1)

    def __call__(
        self,
        index: Tensor,
        crops: CropDraws | None = None,
        alter: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return images as floats [B, C, side, side].

        Args:
            index: [B] positions of the images.
            crops: draws [B, ...] of their parts, on the CPU; None for their middle.
            alter: what becomes of the bytes [B, C, side, side] before they are normalised; None for
                what they are.
        """
        return self._images(self._windows(index, crops), None, alter)

    def epoch(
        self,
        index: Tensor,
        crops: CropDraws,
        colours: JitterDraws | None,
        alter: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Callable[[int], Tensor]:
        """Return what makes the images of an epoch's steps, which are asked for in order.

        Args:
            index: [steps, B] positions of images, on the CPU.
            crops: [steps, B, ...] draws of their parts, on the CPU.
            colours: [steps, B, 3] draws of their colours, on the CPU; None for no change.
            alter: what becomes of the bytes of a step after that.
        """
        coming: dict[int, Future[Windows]] = {}

        def read(step: int) -> Windows:
            return self._windows(index[step], crops.map(lambda values: values[step]))

        def make(step: int) -> Tensor:
            for each in range(step, min(step + AHEAD + 1, len(index))):
                if each not in coming:
                    coming[each] = self.reader.submit(read, each)
            windows = coming.pop(step).result()
            here = None if colours is None else colours.map(lambda values: values[step])
            return self._images(windows, here, None if alter is None else partial(alter, step))

        return make

    def _windows(self, index: Tensor, crops: CropDraws | None) -> Windows:
        images = self.stored.load(index.cpu().numpy())
        sizes = torch.tensor([image.shape[:2] for image in images])
        boxes = centre_boxes(sizes, self.side) if crops is None else crop_boxes(crops, sizes)
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
        return Windows(pixels, boxes[:, 2:], mirrored)

    def _images(
        self,
        windows: Windows,
        colours: JitterDraws | None,
        alter: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        pixels = windows.pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = pixels.to(self.arithmetic) / 255
        mirrored = None if windows.mirrored is None else windows.mirrored.to(self.device)
        if mirrored is not None or images.shape[-2:] != (self.side, self.side):
            images = resize(images, windows.shapes.to(self.device), self.side, mirrored)
        if colours is not None:
            images = jitter(images, colours.map(lambda values: values.to(self.device)))
        if alter is not None:
            images = alter((255 * images).round().to(torch.uint8)).to(self.arithmetic) / 255
        images = (images - self.mean) / self.std
        return images.to(self.dtype).contiguous(memory_format=self.format)
