"""Random numbers of a training step, equal under any number of ranks."""

from collections.abc import Callable

import torch
from torch import Tensor

from ltbench.core.distributed import gather, own_rows, world_size


class GlobalBatchRNG:
    """Random numbers for the global batch; each rank gets its rows.

    Every rank draws the same numbers from a CPU generator of the same seed, and keeps those of its
    rows: together they are what one process would draw. So every rank must make the same calls in
    the same order, with batches of equal size.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, samples: Tensor, *shape: int) -> Tensor:
        """Return uniform random numbers in [0, 1) for each sample.

        Args:
            samples: [B, ...], this rank's rows.
            shape: of the numbers for one sample.

        Returns:
            [B, *shape] float32, on the device of the samples.
        """
        return self._per_sample(torch.rand, samples, shape)

    def normal(self, samples: Tensor, *shape: int) -> Tensor:
        """Return standard normal random numbers; arguments as of `uniform`."""
        return self._per_sample(torch.randn, samples, shape)

    def shared(self, *shape: int) -> Tensor:
        """Return uniform random numbers in [0, 1), equal on all ranks.

        Returns:
            [*shape] float32, on the CPU.
        """
        return torch.rand(*shape, generator=self.generator)

    def beta(self, alpha: float) -> float:
        """Return a random number of Beta(alpha, alpha), equal on all ranks."""
        gamma = torch._standard_gamma(  # noqa: SLF001 - the only gamma that takes a generator
            torch.full((2,), alpha, dtype=torch.float64), generator=self.generator
        )
        return float(gamma[0] / gamma.sum())

    def permutation(self, samples: Tensor) -> Tensor:
        """Return this rank's rows of a random permutation of the global batch.

        Args:
            samples: [B, ...], this rank's rows.

        Returns:
            [B] int64, the position in the global batch of each sample's partner.
        """
        drawn = torch.randperm(len(samples) * world_size(), generator=self.generator)
        return self._share(drawn, samples)

    @staticmethod
    def gather_permuted(values: Tensor, order: Tensor) -> Tensor:
        """Return the rows of the global batch at an order, without gradient.

        Args:
            values: [B, ...], this rank's rows.
            order: [B] of `permutation`.

        Returns:
            [B, ...], rows of any rank.
        """
        return gather(values)[order]

    def _per_sample(
        self, draw: Callable[..., Tensor], samples: Tensor, shape: tuple[int, ...]
    ) -> Tensor:
        drawn = draw(len(samples) * world_size(), *shape, generator=self.generator)
        return self._share(drawn, samples)

    @staticmethod
    def _share(drawn: Tensor, samples: Tensor) -> Tensor:
        return drawn[own_rows(len(samples))].to(samples.device)
