"""Hyper-parameter search on validation images."""

from collections.abc import Callable, Sequence
from math import isfinite


def grid_search(values: Sequence[float], score: Callable[[float], float]) -> float:
    """Return the value with the highest score.

    Of several, the middle one: on a small validation set whole ranges of values have the same
    score, and the score falls beyond their ends.

    Args:
        values: candidates, in order.
        score: function of a candidate.

    Raises:
        ValueError: for no values, or a score that is not finite.
    """
    if len(values) == 0:
        raise ValueError("values: expected at least one")
    scores = [score(value) for value in values]
    if not all(map(isfinite, scores)):
        raise ValueError("a score is not finite")
    best = [value for value, s in zip(values, scores, strict=True) if s == max(scores)]
    return best[(len(best) - 1) // 2]
