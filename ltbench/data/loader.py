"""Loaders that Lightning can iterate over: chunks of an epoch's batches, and shards in order."""

import math
from collections.abc import Callable, Iterator

from ltbench.core.batch import Batch

Step = Batch | dict[str, Batch]
"""What one optimisation step sees: a batch, or one a sampler by its name."""

CHUNK = 16
"""Optimisation steps in one Lightning step."""


class Chunk:
    """Consecutive steps of an epoch; each is assembled when the iteration comes to it."""

    def __init__(self, assemble: Callable[[int], Step], steps: range) -> None:
        self.assemble = assemble
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return map(self.assemble, self.steps)


class EpochLoader:
    """The training batches of one epoch after the other, in chunks.

    Lightning calls `loader.sampler.set_epoch` before each epoch. The epoch begins (draws are made,
    samplers are asked for) when its first chunk is taken, after all hooks of its start have run.

    Args:
        begin: given an epoch from 0, draws it and returns what assembles one of its steps.
        steps: optimisation steps of an epoch.
        chunk: steps of a chunk; the last one may be shorter.
        done: steps of the first epoch that were taken before; its chunks have only the others.
    """

    def __init__(
        self,
        begin: Callable[[int], Callable[[int], Step]],
        steps: int,
        chunk: int = CHUNK,
        done: int = 0,
    ) -> None:
        self.begin = begin
        self.steps = steps
        self.chunk = chunk
        self.done = done
        self.epoch = 0

    @property
    def sampler(self) -> "EpochLoader":
        """The object whose `set_epoch` Lightning calls."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iteration draws."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.steps / self.chunk)

    def __iter__(self) -> Iterator[Chunk]:
        assemble = self.begin(self.epoch)
        done, self.done = self.done, 0
        for first in range(0, self.steps, self.chunk):
            yield Chunk(assemble, range(max(first, done), min(first + self.chunk, self.steps)))


class OrderedLoader:
    """Images in their stored order, none twice: all of them, or a rank's contiguous share.

    An empty share is one empty batch: Lightning would skip the test of a rank without any, hooks
    included, and the other ranks would wait for it.

    Args:
        take: returns the batch of positions first, first + 1, .. last - 1.
        span: positions to go through.
        batch: images of a batch; the last one may be smaller.
    """

    def __init__(self, take: Callable[[int, int], Batch], span: range, batch: int) -> None:
        self.take = take
        self.span = span
        self.batch = batch

    def __len__(self) -> int:
        return max(math.ceil(len(self.span) / self.batch), 1)

    def __iter__(self) -> Iterator[Batch]:
        for first in self.span[:: self.batch] or [self.span.start]:
            yield self.take(first, min(first + self.batch, self.span.stop))


def shard(count: int, rank: int, world: int) -> range:
    """Return a rank's contiguous share of `count` positions; shares differ by one at most."""
    return range(count * rank // world, count * (rank + 1) // world)
