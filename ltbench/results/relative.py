"""Upper reference accuracy (UA) and relative accuracy (RA).

Zhang et al., "Deep Long-Tailed Learning: A Survey", TPAMI 2023 (arXiv:2110.04596):

    UA = max(A_v, A_b)    A_v: cross-entropy trained on the balanced twin of the long-tailed set
    RA = Acc / UA         A_b: the method itself trained on the twin

RA asks how much of what the same network reaches without imbalance a method keeps, so that a gain
that has nothing to do with imbalance cancels. Over seeds we take means first, then the maximum and
the ratio: a maximum within each seed would be biased upwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ltbench.results.statistics import Summary, covered, seed_draws, summarise


@dataclass(frozen=True)
class Relative:
    """UA and RA as fractions.

    Attributes:
        upper: mean and deviation of the larger of A_v and A_b.
        relative: mean accuracy over mean UA.
        interval: 95 % bootstrap interval of RA over seeds; None with a single seed, or where a seed
            alone has a UA of zero.
    """

    upper: Summary
    relative: float
    interval: tuple[float, float] | None


def relative_accuracy(
    accuracy: Sequence[float], vanilla: Sequence[float], balanced: Sequence[float]
) -> Relative:
    """Return UA and RA of a method from runs paired by seed.

    The interval is a percentile bootstrap that draws whole seeds: a draw takes the accuracy, A_v
    and A_b of a seed together. Its stream is fixed, so that equal records give equal tables.

    Args:
        accuracy: [n], of the method trained on the long-tailed set, fractions.
        vanilla: [n], A_v of the same seeds.
        balanced: [n], A_b of the same seeds.

    Raises:
        ValueError: without seeds, with unequal numbers of them, or where UA is zero.
    """
    runs = np.array([accuracy, vanilla, balanced], dtype=np.float64)  # [3, n]; raises if ragged
    n = runs.shape[1]
    if n == 0:
        raise ValueError("UA needs at least one seed")
    acc, a_v, a_b = runs.mean(axis=1)
    if max(a_v, a_b) == 0:
        raise ValueError("UA is zero: no balanced run got an image right")
    upper = summarise(list(vanilla if a_v >= a_b else balanced))
    interval = None
    if n > 1 and runs[1:].any(axis=0).all():
        means = runs[:, seed_draws(n)].mean(axis=2)  # [3, RESAMPLES]
        interval = covered(means[0] / np.maximum(means[1], means[2]))
    return Relative(upper, float(acc / max(a_v, a_b)), interval)
