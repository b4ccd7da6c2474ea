"""Means over seeds and their spread, resampled seeds, and corrections for many tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ltbench.core.exact import in_units, measured, root

RESAMPLES: Final = 2000
COVERAGE: Final = Fraction(95, 100)


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (divisor n - 1) of n values; one value has none."""

    mean: Fraction
    std: Fraction | None
    n: int


def summarize(values: Sequence[Fraction]) -> Summary:
    """Return the summary of one value or more, of any unit."""
    (counts, unit), n = in_units(values), len(values)
    total = sum(counts)
    squares = n * sum(count * count for count in counts) - total * total
    variance = Fraction(squares, n * (n - 1) * unit**2) if n > 1 else None
    return Summary(Fraction(total, n * unit), None if variance is None else root(variance), n)


@cache
def seed_draws(n: int) -> NDArray[np.int64]:
    """Return how often each of n seeds is in each resample, [RESAMPLES, n]; always the same."""
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    return np.stack([(drawn == seed).sum(axis=1) for seed in range(n)], axis=1)


def covered(draws: NDArray[np.float64]) -> tuple[Fraction, Fraction]:
    """Return the interval between the quantiles that leave equal shares of the draws out.

    Quantiles lie between two draws in proportion, as those of R's type 7.
    """
    ordered, outside = np.sort(draws), (1 - COVERAGE) / 2
    low, high = (_quantile(ordered, share) for share in (outside, 1 - outside))
    return low, high


def _quantile(ordered: NDArray[np.float64], share: Fraction) -> Fraction:
    place = share * (len(ordered) - 1)
    below, part = int(place), place % 1
    here, after = (measured(float(ordered[i])) for i in (below, min(below + 1, len(ordered) - 1)))
    return here + part * (after - here)


def holm(p_values: Sequence[Fraction]) -> list[Fraction]:
    """Return p-values corrected for their number by Holm's step-down, in their order.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979: the i-th smallest of m is multiplied by m - i + 1, none falls below a smaller
    one, and none exceeds 1.
    """
    corrected, least = [Fraction(1)] * len(p_values), Fraction(0)
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(Fraction(1), (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected
