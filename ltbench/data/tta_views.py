"""Views of unlabelled test images, for methods that adapt to a test set.

An epoch goes through all images in a new order; each is cut and mirrored at random as the recipe
does it in training, and color images are distorted as in MoCo v2 (blurred with probability 0.2).
That is the test-time augmentation of SADE's authors on CIFAR.
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
"""Images of a batch, as SADE's authors have it on every dataset."""

BLURRED = 0.2


class TTAViews:
    """Batches of views [2, B, C, H, W], another epoch of them each time they are gone through.

    Args:
        maker: of their batches.
        count: how many there are.
        colored: whether they have colors that can be distorted.
        seed: of the job.
        name: of what is drawn for, beside the seed and the epoch.
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
            chosen = order[first : first + BATCH].to(self.maker.device)
            yield torch.stack([self._view(chosen, generator) for _ in range(2)])

    def _view(self, index: Tensor, generator: Generator) -> Tensor:
        """Return one view [B, C, H, W] of images [B]."""
        alter = partial(distort, generator=generator, blurred=BLURRED) if self.colored else None
        draws = self.maker.draw(1, len(index), lambda _: generator).map(itemgetter(0))
        return self.maker(index, draws, alter)
