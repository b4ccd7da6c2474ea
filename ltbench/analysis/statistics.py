"""Means and deviations over seeds, bootstrap intervals, and Holm's correction."""

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
    """Mean and sample standard deviation (divisor n - 1) of n values.

    `std` is None for a single value.
    """

    mean: Fraction
    std: Fraction | None
    n: int


def summarize(values: Sequence[Fraction]) -> Summary:
    """Return the summary of one or more values."""
    (counts, unit), n = in_units(values), len(values)
    total = sum(counts)
    squares = n * sum(count * count for count in counts) - total * total
    variance = Fraction(squares, n * (n - 1) * unit**2) if n > 1 else None
    return Summary(Fraction(total, n * unit), None if variance is None else root(variance), n)


@cache
def seed_draws(n: int) -> NDArray[np.int64]:
    """Return how often each resample draws each seed, [RESAMPLES, n].

    The random stream is fixed, so that equal records give equal intervals.
    """
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    return np.stack([(drawn == seed).sum(axis=1) for seed in range(n)], axis=1)


def percentile_interval(draws: NDArray[np.float64]) -> tuple[Fraction, Fraction]:
    """Return the central 95 % interval of bootstrap draws.

    Quantiles are interpolated linearly (R's type 7, NumPy's default).
    """
    ordered = np.sort(draws)
    low, high = (_quantile(ordered, *position) for position in _positions(len(ordered)))
    return low, high


@cache
def _positions(n: int) -> tuple[tuple[int, Fraction], ...]:
    """Return both ends of the interval as positions among sorted draws.

    A position is an index and the part of the way to the next one.
    """
    tail = (1 - COVERAGE) / 2
    return tuple(divmod(share * (n - 1), 1) for share in (tail, 1 - tail))


def _quantile(ordered: NDArray[np.float64], below: int, part: Fraction) -> Fraction:
    lower, upper = (measured(float(ordered[i])) for i in (below, min(below + 1, len(ordered) - 1)))
    return lower + part * (upper - lower)


def holm(p_values: Sequence[Fraction]) -> list[Fraction]:
    """Return p-values with Holm's step-down correction, in their order.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979: the i-th smallest of m is multiplied by m - i + 1, none falls below a smaller
    one, and none exceeds 1.
    """
    corrected, least = [Fraction(1)] * len(p_values), Fraction(0)
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(Fraction(1), (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected
