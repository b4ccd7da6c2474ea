"""Upper reference accuracy (UA) and relative accuracy (RA).

Zhang et al., "Deep Long-Tailed Learning: A Survey", TPAMI 2023 (arXiv:2110.04596):

    UA = max(A_v, A_b)    A_v: cross-entropy trained on the balanced counterpart
    RA = Acc / UA         A_b: the method itself trained on the balanced counterpart

RA is the share of the accuracy without imbalance that a method reaches with it, so that gains
unrelated to imbalance cancel. Over seeds, means are taken first, then the maximum and the ratio: a
maximum within each seed would be biased upwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

from ltbench.analysis.statistics import Summary, percentile_interval, seed_draws, summarize
from ltbench.core.exact import mean


@dataclass(frozen=True)
class Relative:
    """UA and RA as fractions.

    Attributes:
        upper: mean and deviation of the larger of A_v and A_b.
        relative: mean accuracy over mean UA.
        interval: 95 % bootstrap interval of RA over seeds; None with a single seed, or if UA of a
            single seed is zero.
    """

    upper: Summary
    relative: Fraction
    interval: tuple[Fraction, Fraction] | None


def relative_accuracy(
    accuracy: Sequence[Fraction], vanilla: Sequence[Fraction], balanced: Sequence[Fraction]
) -> Relative:
    """Return UA and RA of a method from runs paired by seed.

    The interval is a percentile bootstrap over seeds: accuracy, A_v and A_b of a seed are drawn
    together. The random stream is fixed, so that equal records give equal tables.

    Args:
        accuracy: [n], of the method trained on the long-tailed set, fractions.
        vanilla: [n], A_v of the same seeds.
        balanced: [n], A_b of the same seeds.

    Raises:
        ValueError: without seeds, for unequal numbers of them, or if UA is zero.
    """
    runs = (accuracy, vanilla, balanced)
    n = len(accuracy)
    if n == 0 or any(len(values) != n for values in runs):
        raise ValueError("UA needs at least one seed, and the same number of runs of each kind")
    acc, a_v, a_b = map(mean, runs)
    if max(a_v, a_b) == 0:
        raise ValueError("UA is zero: no balanced run has a correct prediction")
    interval = None
    if n > 1 and all(map(max, vanilla, balanced)):
        common = lcm(*(value.denominator for values in runs for value in values))
        counts = [[int(common * value) for value in values] for values in runs]
        # Sums below 2**53 are whole in float64, so that their ratios are rounded once.
        exact = np.int64 if n * common < 2**53 else object
        sums = np.array(counts, exact) @ seed_draws(n).T  # [3, RESAMPLES]
        ratios = (sums[0] / np.maximum(sums[1], sums[2])).astype(np.float64)
        interval = percentile_interval(ratios)
    return Relative(summarize(vanilla if a_v >= a_b else balanced), acc / max(a_v, a_b), interval)
