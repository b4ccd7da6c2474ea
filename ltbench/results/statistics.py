"""Means over seeds and their spread, resampled seeds, and corrections for many tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum, sqrt
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000
COVERAGE: Final = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (divisor n - 1) of n values; one value has none."""

    mean: float
    std: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary:
    """Return the summary of one value or more, of any unit."""
    mean, n = fmean(values), len(values)
    std = sqrt(fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    return Summary(mean, std, n)


@cache
def seed_draws(n: int) -> NDArray[np.int64]:
    """Return which of n seeds each resample takes, [RESAMPLES, n]; always the same draws."""
    return np.random.default_rng(0).integers(n, size=(RESAMPLES, n))


@cache
def seed_weights(n: int) -> NDArray[np.float64]:
    """Return the share of each of n seeds in each resample, [RESAMPLES, n]."""
    drawn = seed_draws(n)
    return np.stack([(drawn == seed).mean(axis=1) for seed in range(n)], axis=1)


def covered(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Return the interval between the quantiles that leave equal shares of the draws out."""
    low, high = np.quantile(draws, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down, in their order.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979: the i-th smallest of m is multiplied by m - i + 1, none falls below a smaller
    one, and none exceeds 1.
    """
    corrected, least = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected
