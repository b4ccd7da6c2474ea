"""Check a taxonomy: groups of classes in levels, from few to many."""

from collections.abc import Sequence
from itertools import pairwise


def taxonomy_problems(taxonomy: Sequence[Sequence[int]], classes: int) -> list[str]:
    """Return the problems of a taxonomy's levels.

    A level needs as many classes as there are, and each of its groups is a part of one in the
    level above.

    Args:
        taxonomy: the group of each class, by any numbers, in each level from few to many groups.
        classes: C.
    """
    problems = [
        f"level {number} has {len(level)} classes, not {classes}"
        for number, level in enumerate(taxonomy)
        if len(level) != classes
    ]
    problems += [
        f"level {number} has a group with classes of several groups of level {number - 1}"
        for number, (above, level) in enumerate(pairwise(taxonomy), start=1)
        if len(above) == len(level) and len({*zip(above, level, strict=True)}) != len({*level})
    ]
    return problems
