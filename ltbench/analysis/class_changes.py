"""Accuracy differences between two variants on single classes and on shot groups.

Computed from counts per class: records do not say which image is of which class, so images are not
paired. Intervals treat the two runs as independent, and errors on the same images under different
seeds as equal; both make them wider than need be. Counts of each class get one more hit and one
more miss (Agresti and Caffo, The American Statistician 2000), so that classes with few images have
an interval too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ltbench.analysis.significance import bootstrap
from ltbench.analysis.statistics import seed_draws
from ltbench.core.exact import mean, mean_accuracy, root
from ltbench.runs.record import EvaluationResult

Pair = tuple[EvaluationResult, EvaluationResult]

UNITS = 10**9
"""Integer units per 1.0 of accuracy that intervals are computed in."""


@dataclass(frozen=True)
class Change:
    """Mean accuracies of two variants on some classes, in percent.

    Attributes:
        ours, theirs: means over classes and seeds.
        difference: ours minus theirs, in points.
        interval: 95 % bootstrap interval of the difference.
    """

    ours: Fraction
    theirs: Fraction
    difference: Fraction
    interval: tuple[Fraction, Fraction]


def change(pairs: Sequence[Pair], classes: Sequence[int]) -> Change | None:
    """Return the difference in mean accuracy over classes.

    Args:
        pairs: test results of both variants, one pair per seed, on the same test images.
        classes: indices; classes without a test image are ignored.

    Returns:
        The change, None if no class has a test image.
    """
    tested = [k for k in classes if pairs[0][0].totals[k]]
    if not tested:
        return None
    accuracies = [[mean_recall(run, tested) for run in pair] for pair in pairs]
    ours, theirs = (100 * mean(of_seeds) for of_seeds in zip(*accuracies, strict=True))
    differences = [first - second for first, second in accuracies]
    deviations = [
        root(sum((variance_of_mean(run, tested) for run in pair), Fraction(0))) for pair in pairs
    ]
    return Change(ours, theirs, ours - theirs, unpaired_interval(differences, deviations))


def mean_recall(run: EvaluationResult, classes: Sequence[int]) -> Fraction:
    """Return the mean recall of classes, an exact fraction."""
    hits, totals = ([values[k] for k in classes] for values in (run.hits, run.totals))
    return mean_accuracy(hits, totals) or Fraction(0)


def variance_of_mean(run: EvaluationResult, classes: Sequence[int]) -> Fraction:
    """Return the variance of the mean accuracy over classes."""
    return mean([recall_variance(run.hits[k], run.totals[k]) for k in classes]) / len(classes)


def recall_variance(hits: int, images: int) -> Fraction:
    """Return the variance of a class's accuracy over its test images."""
    rate = Fraction(hits + 1, images + 2)
    return rate * (1 - rate) / images


def unpaired_interval(
    values: Sequence[Fraction], deviations: Sequence[Fraction]
) -> tuple[Fraction, Fraction]:
    """Return the 95 % bootstrap interval of a mean, in points.

    Args:
        values: [S], of each seed, fractions.
        deviations: [S], standard errors of these values over test images.
    """
    counts, scale = seed_draws(len(values)), Fraction(100, len(values) * UNITS)
    sums, spread = (counts @ _in_units(numbers) for numbers in (values, deviations))
    return bootstrap(sums, spread.astype(np.float64), scale)


def _in_units(numbers: Sequence[Fraction]) -> NDArray[np.int64]:
    return np.array([round(UNITS * number) for number in numbers])
