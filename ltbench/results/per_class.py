"""What changed from one variant to another within classes and groups of them, from their counts.

Records do not say which image is of which class, so that images are not paired here: intervals take
the two runs, and the same images under other seeds, for as different as they can be, and are rather
too wide. Hits of each class count with one more right and one more wrong (Agresti and Caffo, The
American Statistician 2000), so that classes with few images have an interval too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltbench.results.paired import Floats, bootstrap
from ltbench.results.record import TestResult

Pair = tuple[TestResult, TestResult]


@dataclass(frozen=True)
class Change:
    """The mean accuracy of two variants within classes, over seeds and in percent.

    `difference` is the first's less the second's, in points, with its 95 % bootstrap interval.
    """

    ours: float
    theirs: float
    difference: float
    interval: tuple[float, float]


def change(pairs: Sequence[Pair], classes: Sequence[int]) -> Change | None:
    """Return how the mean accuracy over classes changed; None where none has a test image.

    Args:
        pairs: one a seed, of the same test images.
        classes: their indices; those without a test image are left out.
    """
    totals = np.array(pairs[0][0].totals)
    chosen = np.array([k for k in classes if totals[k]], int)
    if not chosen.size:
        return None
    hits = np.array([[run.hits for run in pair] for pair in pairs])[:, :, chosen]  # [S, 2, K]
    means = 100 * (hits / totals[chosen]).mean(axis=2)  # [S, 2]
    ours, theirs = means.mean(axis=0)
    deviations = 100 * np.sqrt(_variances(hits, totals[chosen]))  # [S]
    differences = means[:, 0] - means[:, 1]
    interval = bootstrap(differences, np.outer(deviations, deviations))
    return Change(float(ours), float(theirs), float(ours - theirs), interval)


def _variances(hits: NDArray[np.int64], totals: NDArray[np.int64]) -> Floats:
    """Return the variance of each seed's difference of mean accuracies over classes, [S]."""
    likely = (hits + 1) / (totals + 2)
    each: Floats = likely * (1 - likely) / totals  # [S, 2, K]
    variances: Floats = each.sum(axis=(1, 2)) / totals.size**2
    return variances
