"""Augmented views of unlabeled test images, for transductive methods.

An epoch goes through all images in a new order. Each is cropped and flipped at random as in
training, and color images are distorted as in MoCo v2 (blurred with probability 0.2): the test-time
augmentation of SADE's authors on CIFAR.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Generator, Tensor

from ltbench.augment import distort
from ltbench.core.seeding import make_generator
from ltbench.data.batch_maker import BatchMaker

BATCH = 128
"""Batch size of SADE's authors, the same for every dataset."""

BLUR_PROBABILITY = 0.2


class TTAViews:
    """Batches of two views; each iteration is another epoch.

    Batches are [2, B, C, H, W].

    Args:
        maker: batch maker of the images.
        count: number of images.
        colored: whether the images have colors to distort.
        seed: of the job.
        name: of the random stream, with the seed and the epoch.
        on_batch: called before every batch.
    """

    def __init__(
        self,
        maker: BatchMaker[Any],
        count: int,
        *,
        colored: bool,
        seed: int,
        name: str,
        on_batch: Callable[[], object] = lambda: None,
    ) -> None:
        self.maker, self.count, self.colored = maker, count, colored
        self.seed, self.name, self.on_batch = seed, name, on_batch
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.count / BATCH)

    def __iter__(self) -> Iterator[Tensor]:
        generator = make_generator(self.seed, "views", self.name, self.epoch)
        self.epoch += 1
        order = torch.randperm(self.count, generator=generator)
        for first in range(0, self.count, BATCH):
            self.on_batch()
            index = order[first : first + BATCH].to(self.maker.device)
            yield torch.stack([self._view(index, generator) for _ in range(2)])

    def _view(self, index: Tensor, generator: Generator) -> Tensor:
        """Return one view [B, C, H, W] of images [B]."""
        transform = partial(distort, generator=generator, blurred=BLUR_PROBABILITY)
        params = self.maker.draw(1, len(index), lambda _: generator).map(itemgetter(0))
        return self.maker(index, params, transform if self.colored else None)
