"""What makes normalized batches of images on the device, as training and every test see them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from ltbench.config.models import DatasetSpec, Recipe
from ltbench.data.fixed_size import FixedSizeBatches
from ltbench.data.images import FileImages, Images, InMemoryImages
from ltbench.data.variable_size import VariableSizeBatches

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp64": torch.float64,
}


class Draws(Protocol):
    """What is drawn at random for images, tensors of one shape."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the draws with a function applied to each tensor."""


Drawn = TypeVar("Drawn", bound=Draws)


class BatchMaker(Protocol[Drawn]):
    """Makes normalized batches [B, C, H, W] of images, on its device."""

    device: torch.device

    def draw(self, steps: int, batch: int, streams: Callable[[str], Generator]) -> Drawn:
        """Draw the augmentation of an epoch's images [steps, batch]; see the implementations."""

    def epoch(
        self,
        index: Tensor,
        draws: Drawn,
        alter: Callable[[int, Tensor], Tensor] | None = None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch [steps, B] from a step on."""

    def __call__(
        self,
        index: Tensor,
        draws: Drawn | None = None,
        alter: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the batch of images [B]; without draws as a test sees them."""


def batch_maker(
    images: Images,
    spec: DatasetSpec,
    recipe: Recipe,
    device: torch.device,
    *,
    padding: int = 0,
    jitter: float = 0.0,
) -> BatchMaker[Any]:
    """Return what makes batches of images.

    Args:
        images: in memory, in files or in a cache; those in files are resized as the recipe says, to
            the size of the dataset's images where it says nothing.
        spec: the dataset, for its normalization and size.
        recipe: for precision, memory format and flips.
        device: where batches are made.
        padding: pixels that an augmented image in memory may be shifted by to each side.
        jitter: strength of changes of the colors of augmented images of any size.
    """
    mean, std = spec.normalization.mean, spec.normalization.std
    how: dict[str, Any] = {
        "flip": recipe.horizontal_flip,
        "dtype": DTYPES[recipe.precision],
        "channels_last": recipe.channels_last,
        "device": device,
    }
    if isinstance(images, InMemoryImages):
        pixels = torch.from_numpy(np.require(images.pixels, requirements=["C", "W"]))
        return FixedSizeBatches(pixels, mean, std, padding=padding, **how)
    if isinstance(images, FileImages):
        images = replace(
            images,
            resize_shorter_side=recipe.resize_shorter_side or spec.image_size,
            quality=recipe.jpeg_quality,
            threads=torch.get_num_threads(),
        )
    return VariableSizeBatches(images, spec.image_size, mean, std, jitter=jitter, **how)
