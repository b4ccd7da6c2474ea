"""Expected accuracy of inductive predictions under label shift, from counts per class.

An inductive prediction does not depend on the other test images, so the accuracy under other class
frequencies is the mean of the per-class accuracies, weighted by these frequencies.
"""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final

from ltbench.core.exact import mean_accuracy
from ltbench.core.label_shift import Shift

UNITS: Final = 10**20
"""Units of frequency of the most frequent class."""


def shifted_accuracy(
    hits: Sequence[int], totals: Sequence[int], counts: Sequence[int], shift: Shift
) -> Fraction | None:
    """Return the expected accuracy under a label shift, as a fraction.

    Args:
        hits: [C], correct predictions of each class on the test set.
        totals: [C], test images of each class; classes without one are ignored.
        counts: [C], long-tailed training images of each class.
        shift: the class frequencies.

    Returns:
        The accuracy, None without a test image.
    """
    return mean_accuracy(hits, totals, _frequencies(tuple(counts), shift))


@lru_cache(maxsize=256)  # all runs of a board have equal counts
def _frequencies(counts: tuple[int, ...], shift: Shift) -> tuple[int, ...]:
    """Return the frequency of each class under a shift, in whole units."""
    frequencies = _exponential(len(counts), shift.ratio)
    return tuple(frequencies[rank] for rank in shift.class_ranks(counts))


@lru_cache(maxsize=64)
def _exponential(classes: int, ratio: int) -> tuple[int, ...]:
    """Return exponentially decreasing frequencies in whole units.

    All but the ends are irrational; decimals have the same digits on any machine.
    """
    with localcontext(prec=30):
        steps = max(classes - 1, 1)
        shares = (Decimal(ratio) ** (Decimal(-rank) / steps) for rank in range(classes))
        return tuple(int(share * UNITS) for share in shares)
