"""Label shift: class frequencies of long-tailed test sets.

A forward shift has the training set's head as its head, a backward shift its tail (Hong et al.,
CVPR 2021, arXiv:2012.00321; Zhang et al., NeurIPS 2022, arXiv:2107.09249).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ltbench.core.groups import by_size

Direction = Literal["forward", "uniform", "backward"]


@dataclass(frozen=True)
class Shift:
    """Class frequencies of a test set: exponential, with an imbalance ratio."""

    direction: Direction
    ratio: int = 1

    @property
    def title(self) -> str:
        """Name of the shift in a table's header."""
        return "Uniform" if self.ratio == 1 else f"{self.direction.capitalize()} {self.ratio}"

    def class_ranks(self, counts: Sequence[int]) -> list[int]:
        """Return each class's rank by frequency, 0 for the most frequent.

        Args:
            counts: [C], training images of each class in the long-tailed split; of equal counts the
                lower class index comes first.
        """
        order = by_size(counts)
        if self.direction == "backward":
            order.reverse()
        return sorted(range(len(order)), key=order.__getitem__)


RATIOS = (50, 25, 10, 5, 2)
SHIFTS = (
    *(Shift("forward", ratio) for ratio in RATIOS),
    Shift("uniform"),
    *(Shift("backward", ratio) for ratio in reversed(RATIOS)),
)
"""From the training set's class order to its reverse."""
