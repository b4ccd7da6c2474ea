"""Random numbers of a training step, made for the global batch and then sliced by rank."""

import torch
from torch import Tensor

from ltbench.core.distributed import gather, rank, world_size


class GlobalBatchRNG:
    """Draw random numbers for the global batch and return this rank's part.

    One CPU generator runs in step on every rank, so that ranks share what one process would draw.

    Every rank must ask for the same things in the same order.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, samples: Tensor, *shape: int) -> Tensor:
        """Return numbers [B, *shape] in [0, 1) for samples [B, ...], float32, on their device."""
        drawn = torch.rand(len(samples) * world_size(), *shape, generator=self.generator)
        return self._share(drawn, len(samples)).to(samples.device)

    def beta(self, alpha: float) -> float:
        """Return one number of Beta(alpha, alpha), the same on all ranks."""
        gamma = torch._standard_gamma(  # noqa: SLF001 - the only gamma that takes a generator
            torch.full((2,), alpha, dtype=torch.float64), generator=self.generator
        )
        return float(gamma[0] / gamma.sum())

    def permutation(self, samples: Tensor) -> Tensor:
        """Return for each sample [B] the position in the global batch of its random partner."""
        drawn = torch.randperm(len(samples) * world_size(), generator=self.generator)
        return self._share(drawn, len(samples)).to(samples.device)

    @staticmethod
    def gather_permuted(values: Tensor, order: Tensor) -> Tensor:
        """Return the partners' values [B, ...], wherever their ranks, without gradient."""
        return gather(values)[order]

    @staticmethod
    def _share(drawn: Tensor, count: int) -> Tensor:
        return drawn[rank() * count : (rank() + 1) * count]
