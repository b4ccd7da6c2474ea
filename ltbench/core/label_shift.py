"""Class frequencies of test sets that are long-tailed themselves.

Forward shifts have the head of training as their head, backward ones its tail (Hong et al., CVPR
2021, arXiv:2012.00321; Zhang et al., NeurIPS 2022, arXiv:2107.09249).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
