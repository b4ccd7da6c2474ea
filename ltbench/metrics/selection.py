"""Choices made on validation images."""

from collections.abc import Callable, Sequence
from math import isfinite


def grid_search(values: Sequence[float], score: Callable[[float], float]) -> float:
    """Return the value with the highest score; of several, the one in their middle.

    A small validation set scores whole ranges of values alike, at whose ends the score falls.

    Args:
        values: candidates, in order.
        score: of a candidate.

    Raises:
        ValueError: for a score that is not finite.
    """
    scores = [score(value) for value in values]
    if not all(map(isfinite, scores)):
        raise ValueError("a score is not finite")
    best = [value for value, s in zip(values, scores, strict=True) if s == max(scores)]
    return best[(len(best) - 1) // 2]
