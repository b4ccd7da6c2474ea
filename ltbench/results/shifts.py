"""Accuracy under test sets whose own class frequencies are long-tailed, from per-class counts.

A predictor that is fixed answers each test image alike whatever the others are, so that its
accuracy under other class frequencies is its per-class accuracies weighted by them. Forward shifts
have the head of training as their head, backward ones its tail (Hong et al., CVPR 2021,
arXiv:2012.00321; Zhang et al., NeurIPS 2022, arXiv:2107.09249).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal

from ltbench.results.exact import mean_accuracy

UNITS: Final = 10**20
"""Of the most frequent class."""

Direction = Literal["forward", "uniform", "backward"]


@dataclass(frozen=True)
class Shift:
    """Class frequencies of a test set, falling exponentially by `ratio` from head to tail."""

    direction: Direction
    ratio: int = 1

    @property
    def title(self) -> str:
        """The shift as a column names it."""
        return "Uniform" if self.ratio == 1 else f"{self.direction.capitalize()} {self.ratio}"

    def places(self, counts: Sequence[int]) -> list[int]:
        """Return the place of each class among the frequencies, 0 for the most frequent.

        Args:
            counts: [C], long-tailed training images of each class, which say what is head; of equal
                counts the lower class index comes first.
        """
        order = sorted(range(len(counts)), key=lambda k: (-counts[k], k))
        if self.direction == "backward":
            order.reverse()
        return sorted(range(len(order)), key=order.__getitem__)


RATIOS = (50, 25, 10, 5, 2)
SHIFTS = (
    *(Shift("forward", ratio) for ratio in RATIOS),
    Shift("uniform"),
    *(Shift("backward", ratio) for ratio in reversed(RATIOS)),
)
"""From a test set like a long-tailed training set to its reverse."""


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
    return mean_accuracy(hits, totals, [falling[place] for place in shift.places(counts)])


@lru_cache(maxsize=64)
def _falling(classes: int, ratio: int) -> tuple[int, ...]:
    """Return frequencies that fall exponentially by a ratio, in units of which the first has many.

    They are irrational but for the ends; decimals have the same digits on any machine.
    """
    with localcontext(prec=30):
        steps = max(classes - 1, 1)
        shares = (Decimal(ratio) ** (Decimal(-place) / steps) for place in range(classes))
        return tuple(int(share * UNITS) for share in shares)
