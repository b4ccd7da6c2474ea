"""Views of unlabelled test images, for methods that adapt to a test set.

An epoch goes through all images in a new order; each is cut and mirrored at random as the recipe
does it in training, and colour images are distorted as in MoCo v2 (blurred with probability 0.2).
That is the test-time augmentation of SADE's authors on CIFAR.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Generator, Tensor

from ltbench.augment import ResidentImages, distort, draw_crops, draw_placement
from ltbench.core.streams import stream
from ltbench.data.streamed import StreamedImages

BATCH = 128
"""Images of a batch, as SADE's authors have it on every dataset."""

BLURRED = 0.2


class Views:
    """Batches of views [2, B, C, H, W], another epoch of them each time they are gone through.

    Args:
        images: of the test.
        count: how many there are.
        coloured: whether they have colours that can be distorted.
        mirrors: whether they are mirrored at random.
        device: where batches are made.
        seed: of the job.
        name: of what is drawn for, beside the seed and the epoch.
        on_batch: called before every batch.
    """

    def __init__(
        self,
        images: ResidentImages | StreamedImages,
        count: int,
        *,
        coloured: bool,
        mirrors: bool,
        device: torch.device,
        seed: int,
        name: str,
        on_batch: Callable[[], object] = lambda: None,
    ) -> None:
        self.images, self.count = images, count
        self.coloured, self.mirrors, self.device = coloured, mirrors, device
        self.seed, self.name, self.on_batch = seed, name, on_batch
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.count / BATCH)

    def __iter__(self) -> Iterator[Tensor]:
        generator = stream(self.seed, "views", self.name, self.epoch)
        self.epoch += 1
        order = torch.randperm(self.count, generator=generator)
        for first in range(0, self.count, BATCH):
            self.on_batch()
            chosen = order[first : first + BATCH].to(self.device)
            yield torch.stack([self._view(chosen, generator) for _ in range(2)])

    def _view(self, index: Tensor, generator: Generator) -> Tensor:
        """Return one view [B, C, H, W] of images [B]."""
        images, count, flip = self.images, len(index), self.mirrors
        alter = partial(distort, generator=generator, blurred=BLURRED) if self.coloured else None
        if isinstance(images, StreamedImages):
            crops = draw_crops(1, count, generator, flip=flip).map(lambda values: values[0])
            return images(index, crops, alter)
        drawn = draw_placement(1, count, images.padding, generator, flip=flip)
        return images(index, drawn.map(lambda values: values[0].to(self.device)), alter)
