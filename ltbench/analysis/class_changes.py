"""What changed from one variant to another within classes and groups of them, from their counts.

Records do not say which image is of which class, so that images are not paired here: intervals take
the two runs, and the same images under other seeds, for as different as they can be, and are rather
too wide. Hits of each class count with one more right and one more wrong (Agresti and Caffo, The
American Statistician 2000), so that classes with few images have an interval too.
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

GRAIN = 10**9
"""Parts of a point that an interval is computed in, as whole numbers."""


@dataclass(frozen=True)
class Change:
    """The mean accuracy of two variants within classes, over seeds and in percent.

    `difference` is the first's less the second's, in points, with its 95 % bootstrap interval.
    """

    ours: Fraction
    theirs: Fraction
    difference: Fraction
    interval: tuple[Fraction, Fraction]


def change(pairs: Sequence[Pair], classes: Sequence[int]) -> Change | None:
    """Return how the mean accuracy over classes changed; None where none has a test image.

    Args:
        pairs: one a seed, of the same test images.
        classes: their indices; those without a test image are left out.
    """
    chosen = [k for k in classes if pairs[0][0].totals[k]]
    if not chosen:
        return None
    runs = [[_accuracy(run, chosen) for run in pair] for pair in pairs]
    ours, theirs = (100 * mean(of_seeds) for of_seeds in zip(*runs, strict=True))
    gaps = [first - second for first, second in runs]
    deviations = [
        root(sum((_variance(run, chosen) for run in pair), Fraction(0))) for pair in pairs
    ]
    drawn, scale = seed_draws(len(pairs)), Fraction(100, len(pairs) * GRAIN)
    low, high = bootstrap(drawn @ _whole(gaps), (drawn @ _whole(deviations)).astype(np.float64))
    return Change(ours, theirs, ours - theirs, (scale * low, scale * high))


def _accuracy(run: EvaluationResult, classes: Sequence[int]) -> Fraction:
    hits, totals = ([values[k] for k in classes] for values in (run.hits, run.totals))
    return mean_accuracy(hits, totals) or Fraction(0)


def _variance(run: EvaluationResult, classes: Sequence[int]) -> Fraction:
    """Return the variance of a run's mean accuracy over classes."""
    likely = [Fraction(run.hits[k] + 1, run.totals[k] + 2) for k in classes]
    each = [p * (1 - p) / run.totals[k] for p, k in zip(likely, classes, strict=True)]
    return mean(each) / len(classes)


def _whole(numbers: Sequence[Fraction]) -> NDArray[np.int64]:
    return np.array([round(GRAIN * number) for number in numbers])
