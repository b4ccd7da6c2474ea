"""Means over seeds and their spread, resampled seeds, and corrections for many tests."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

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
    std = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), std, len(values))


@cache
def seed_draws(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return which of n seeds each resample takes, [RESAMPLES, n]; always the same draws."""
    return np.random.default_rng(0).integers(n, size=(RESAMPLES, n))


def covered(draws: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
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
