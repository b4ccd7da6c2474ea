"""Expected accuracy of a fixed predictor under other test frequencies, from per-class counts.

A predictor that is fixed answers each test image alike whatever the others are, so that its
accuracy under other class frequencies is its per-class accuracies weighted by them.
"""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final

from ltbench.core.exact import mean_accuracy
from ltbench.core.label_shift import Shift

UNITS: Final = 10**20
"""Of the most frequent class."""


def shifted_accuracy(
    hits: Sequence[int], totals: Sequence[int], counts: Sequence[int], shift: Shift
) -> Fraction | None:
    """Return the expected accuracy under a shift, a fraction; None without a test image.

    Args:
        hits: [C], right predictions of each class on the test set at hand.
        totals: [C], its images of each class; classes without one are left out.
        counts: [C], long-tailed training images of each class.
        shift: the class frequencies.
    """
    falling = _falling(len(counts), shift.ratio)
    return mean_accuracy(hits, totals, [falling[place] for place in shift.class_ranks(counts)])


@lru_cache(maxsize=64)
def _falling(classes: int, ratio: int) -> tuple[int, ...]:
    """Return frequencies that fall exponentially by a ratio, in units of which the first has many.

    They are irrational but for the ends; decimals have the same digits on any machine.
    """
    with localcontext(prec=30):
        steps = max(classes - 1, 1)
        shares = (Decimal(ratio) ** (Decimal(-place) / steps) for place in range(classes))
        return tuple(int(share * UNITS) for share in shares)
