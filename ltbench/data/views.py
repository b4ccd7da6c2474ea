"""Views of unlabelled test images, for methods that adapt to a test set.

An epoch goes through all images in a new order; each is cut and mirrored at random as the recipe
does it in training, and colour images are distorted as in MoCo v2 (blurred with probability 0.2).
That is the test-time augmentation of SADE's authors on CIFAR.
"""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Generator, Tensor

from ltbench.augment import ResidentImages, distort, draw_placement
from ltbench.config.models import Normalisation, Recipe
from ltbench.core.streams import stream

BATCH = 128
"""Images of a batch, as SADE's authors have it on every dataset."""

BLURRED = 0.2


class Views:
    """Batches of views [2, B, C, H, W], another epoch of them each time they are gone through.

    Args:
        pixels: [N, C, H, W] uint8.
        normalisation: of the batches.
        recipe: cut, mirroring and memory format.
        dtype: of the batches.
        device: where batches are made.
        seed: of the job.
        name: of what is drawn for, beside the seed and the epoch.
    """

    def __init__(
        self,
        pixels: Tensor,
        normalisation: Normalisation,
        recipe: Recipe,
        *,
        dtype: torch.dtype,
        device: torch.device,
        seed: int,
        name: str,
    ) -> None:
        self.count = len(pixels)
        self.images = ResidentImages(
            pixels,
            normalisation.mean,
            normalisation.std,
            padding=recipe.padding,
            dtype=dtype,
            channels_last=recipe.channels_last,
            device=device,
        )
        self.coloured, self.mirrors, self.device = pixels.shape[1] == 3, recipe.mirrors, device
        self.seed, self.name = seed, name
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.count / BATCH)

    def __iter__(self) -> Iterator[Tensor]:
        generator = stream(self.seed, "views", self.name, self.epoch)
        self.epoch += 1
        order = torch.randperm(self.count, generator=generator)
        for first in range(0, self.count, BATCH):
            chosen = order[first : first + BATCH].to(self.device)
            yield torch.stack([self._view(chosen, generator) for _ in range(2)])

    def _view(self, index: Tensor, generator: Generator) -> Tensor:
        """Return one view [B, C, H, W] of images [B]."""
        padding = self.images.padding
        drawn = draw_placement(1, len(index), padding, generator, flip=self.mirrors)
        return self.images(
            index,
            drawn.map(lambda values: values[0].to(self.device)),
            partial(distort, generator=generator, blurred=BLURRED) if self.coloured else None,
        )
