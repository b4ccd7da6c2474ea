"""Batch makers: normalized batches on the device, for training and tests."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from ltbench.config.dataset import DatasetSpec
from ltbench.config.recipe import Recipe
from ltbench.data.fixed_size import FixedSizeBatches
from ltbench.data.images import FileImages, Images, InMemoryImages
from ltbench.data.variable_size import VariableSizeBatches

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp64": torch.float64,
}


class AugmentationParams(Protocol):
    """Augmentation parameters of images: tensors of one leading shape."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the parameters with a function applied to each tensor."""


Params = TypeVar("Params", bound=AugmentationParams)


class BatchMaker(Protocol[Params]):
    """Makes normalized batches [B, C, H, W] of images on its device."""

    device: torch.device

    def draw(
        self,
        steps: int,
        batch: int,
        generators: Callable[[str], Generator],
        *,
        distorted: bool = False,
    ) -> Params:
        """Draw the augmentation parameters of an epoch's images [steps, batch]."""

    def epoch(
        self,
        index: Tensor,
        params: Params,
        transform: Callable[[int, Tensor], Tensor] | None = None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch [steps, B], from step `first` on."""

    def __call__(
        self,
        index: Tensor,
        params: Params | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the batch of images [B], not augmented if `params` is None."""


def batch_maker(
    images: Images,
    spec: DatasetSpec,
    recipe: Recipe,
    device: torch.device,
    *,
    padding: int = 0,
    jitter: float = 0.0,
) -> BatchMaker[Any]:
    """Return the batch maker of images.

    Args:
        images: in memory, in files or in a cache. Images in files are resized to the recipe's
            `resize_shorter_side`, by default the dataset's image size.
        spec: the dataset, for normalization and image size.
        recipe: for precision, memory format and flips.
        device: of the batches.
        padding: of the random crop of images in memory, pixels on each side.
        jitter: strength of the color jitter of images of any size.
    """
    mean, std = spec.normalization.mean, spec.normalization.std
    options: dict[str, Any] = {
        "flip": recipe.horizontal_flip,
        "dtype": DTYPES[recipe.precision],
        "channels_last": recipe.channels_last,
        "device": device,
    }
    if isinstance(images, InMemoryImages):
        pixels = torch.from_numpy(np.require(images.pixels, requirements=["C", "W"]))
        return FixedSizeBatches(pixels, mean, std, padding=padding, **options)
    if isinstance(images, FileImages):
        images = replace(
            images,
            resize_shorter_side=recipe.resize_shorter_side or spec.image_size,
            quality=recipe.jpeg_quality,
            threads=torch.get_num_threads(),
        )
    return VariableSizeBatches(images, spec.image_size, mean, std, jitter=jitter, **options)
