"""Loaders for Lightning: training epochs in chunks of steps, ordered images."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ltbench.core.batch import Batch, StepInput
from ltbench.data.batch_maker import BatchMaker

CHUNK = 16
"""Optimization steps of a Lightning step."""


class ChunkedEpochs:
    """Training epochs whose Lightning steps are chunks of optimization steps.

    A Lightning step costs about as much as an optimization step of a small network: one for 16 of
    them makes jobs on small images fast. A chunk is consumed before the next one is requested.

    Lightning requests an iterator before it calls the hooks of an epoch's start; the epoch begins
    with its first chunk, after them.

    Args:
        epoch: yields the steps of an epoch, given its number and the step to begin with.
        number: returns the number of the current epoch.
        steps: optimization steps of an epoch.
        chunk: steps of a chunk; the last one may be shorter.
        done: steps of the first epoch taken before an interruption; its chunks skip them.
    """

    def __init__(
        self,
        epoch: Callable[[int, int], Iterator[StepInput]],
        number: Callable[[], int],
        steps: int,
        *,
        chunk: int = CHUNK,
        done: int = 0,
    ) -> None:
        self.epoch, self.number = epoch, number
        self.steps, self.chunk, self.done = steps, chunk, done

    def __len__(self) -> int:
        return math.ceil(self.steps / self.chunk)

    def __iter__(self) -> Iterator[Iterator[StepInput]]:
        done, self.done = self.done, 0
        steps = self.epoch(self.number(), done)
        for first in range(0, self.steps, self.chunk):
            last = min(first + self.chunk, self.steps)
            yield islice(steps, max(last - max(first, done), 0))


class OrderedLoader:
    """Images in order, not augmented: all, or a rank's contiguous share.

    The job's test, tests between epochs, statistics, auxiliary images and `ltbench evaluate` all
    read these batches. An empty share is one empty batch: Lightning would skip the test of a rank
    without batches, hooks included, and the other ranks would wait for it.

    Args:
        maker: batch maker of the images.
        labels: [N] int64, of the images.
        batch: batch size; the last batch may be smaller.
        index: [M] positions of images, in order; None for all images.
        span: this rank's range of the index; None for all of it.
        on_batch: called before every batch.
    """

    def __init__(
        self,
        maker: BatchMaker[Any],
        labels: Tensor,
        batch: int,
        *,
        index: Tensor | None = None,
        span: range | None = None,
        on_batch: Callable[[], object] = lambda: None,
    ) -> None:
        self.maker, self.batch, self.on_batch = maker, batch, on_batch
        self.labels = labels.to(maker.device)
        self.index = (torch.arange(len(labels)) if index is None else index).to(maker.device)
        self.span = range(len(self.index)) if span is None else span

    def __len__(self) -> int:
        return max(math.ceil(len(self.span) / self.batch), 1)

    def __iter__(self) -> Iterator[Batch]:
        for first in self.span[:: self.batch] or [self.span.start]:
            yield self.load_batch(first, min(first + self.batch, self.span.stop))

    def load_batch(self, first: int, last: int) -> Batch:
        """Return the batch of index[first:last]."""
        self.on_batch()
        rows = self.index[first:last]
        return Batch(self.maker(rows), self.labels[rows], rows)

    def first_image(self) -> Tensor:
        """Return the first image [1, C, H, W]."""
        return self.load_batch(0, 1).images


def rank_slice(count: int, rank: int, world: int) -> range:
    """Return a rank's contiguous share of `count` positions; sizes differ by one."""
    return range(count * rank // world, count * (rank + 1) // world)
