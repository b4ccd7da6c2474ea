"""Loaders that Lightning can iterate over: epochs in chunks of steps, and images in order."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ltbench.core.batch import Batch
from ltbench.data.batch_maker import BatchMaker

Step = Batch | dict[str, Batch]
"""What one optimization step sees: a batch, or one a sampler by its name."""

CHUNK = 16
"""Optimization steps in one Lightning step."""


class ChunkedEpochs:
    """Training epochs for Lightning, whose steps are chunks of 16 optimization steps.

    A Lightning step costs about as much as a step of a small network: one for 16 of them is what
    makes jobs on small images fast. A chunk is gone through before the next one is taken.

    Lightning asks for an iterator before the hooks of an epoch's start have run; the epoch begins
    when its first chunk is taken, after them.

    Args:
        epoch: yields the steps of an epoch, given its number and the step to begin with.
        number: returns the number of the epoch that begins.
        steps: optimization steps of an epoch.
        chunk: steps of a chunk; the last one may be shorter.
        done: steps of the first epoch that were taken before; its chunks have only the others.
    """

    def __init__(
        self,
        epoch: Callable[[int, int], Iterator[Step]],
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

    def __iter__(self) -> Iterator[Iterator[Step]]:
        done, self.done = self.done, 0
        steps = self.epoch(self.number(), done)
        for first in range(0, self.steps, self.chunk):
            last = min(first + self.chunk, self.steps)
            yield islice(steps, max(last - max(first, done), 0))


class OrderedLoader:
    """Images in order as a test sees them, none twice: all, or a rank's contiguous share.

    The job's test, tests between epochs, statistics, auxiliary images and the test of exported
    weights all read these batches. An empty share is one empty batch: Lightning would skip the test
    of a rank without any, hooks included, and the other ranks would wait for it.

    Args:
        maker: of the batches.
        labels: [N] int64, of its images.
        batch: images of a batch; the last one may be smaller.
        index: [M] positions of images, in order; None for all of them.
        span: of the index, what this rank goes through; None for all of it.
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
        """Return the batch of positions first .. last - 1 of the index."""
        self.on_batch()
        here = self.index[first:last]
        return Batch(self.maker(here), self.labels[here], here)


def rank_slice(count: int, rank: int, world: int) -> range:
    """Return a rank's contiguous share of `count` positions; shares differ by one at most."""
    return range(count * rank // world, count * (rank + 1) // world)
