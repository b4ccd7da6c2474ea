"""Significance of contrasts: sums of accuracies with coefficients.

One is the difference of two gains. If every accuracy is over all test images, images are paired as
in `significance`. Accuracies over some classes are known as counts per class only: their intervals
are conservative, as in `class_changes`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ltbench.analysis.class_changes import (
    mean_recall,
    recall_variance,
    unpaired_interval,
    variance_of_mean,
)
from ltbench.analysis.significance import correctness_of, paired_test
from ltbench.core.exact import mean, measured, root
from ltbench.runs.record import EvaluationResult
from ltbench.runs.store import Stored


@dataclass(frozen=True)
class Summand:
    """A mean accuracy over seeds with its coefficient.

    Attributes:
        coefficient: of the accuracy.
        keys: of the records, in the order of seeds.
        classes: whose accuracies are averaged; None for the accuracy over all test images.
    """

    coefficient: Fraction
    keys: tuple[str, ...]
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Contrast:
    """A contrast and its 95 % bootstrap interval in points, and p."""

    value: Fraction
    interval: tuple[Fraction, Fraction]
    p: Fraction


def merged(summands: Sequence[Summand]) -> tuple[Summand, ...]:
    """Return the summands with equal accuracies added up, without those that cancel."""
    sums: dict[tuple[tuple[str, ...], tuple[int, ...] | None], Fraction] = {}
    for summand in summands:
        identity = (summand.keys, summand.classes)
        sums[identity] = sums.get(identity, Fraction(0)) + summand.coefficient
    return tuple(Summand(total, *identity) for identity, total in sums.items() if total)


def contrast(
    value: Fraction, summands: Sequence[Summand], records: Mapping[str, Stored]
) -> Contrast:
    """Return the significance of a contrast.

    Args:
        value: of the contrast in points; of a ratio, whose summands are its linearization, it is
            not their sum.
        summands: with records of the same seeds, `merged`.
        records: valid records by key.
    """
    if not summands:
        return Contrast(value, (value, value), Fraction(1))
    return _paired(value, summands, records) or _unpaired(value, summands, records)


def _paired(
    value: Fraction, summands: Sequence[Summand], records: Mapping[str, Stored]
) -> Contrast | None:
    """Return the contrast over paired images, None if they cannot be paired."""
    if any(
        summand.classes is not None or summand.coefficient.denominator > 1 for summand in summands
    ):
        return None
    runs = [correctness_of(records[key].record for key in summand.keys) for summand in summands]
    hashes = {run.test_hash for of_seeds in runs for run in of_seeds.values()}
    if len(hashes) > 1 or len({frozenset(of_seeds) for of_seeds in runs}) > 1:
        return None
    differences = sum(
        int(summand.coefficient)
        * np.array([of_seeds[seed].unpacked() for seed in runs[0]], np.int64)
        for summand, of_seeds in zip(summands, runs, strict=True)
    )
    p, interval = paired_test(np.asarray(differences))
    return Contrast(value, interval, p)


def _unpaired(
    value: Fraction, summands: Sequence[Summand], records: Mapping[str, Stored]
) -> Contrast:
    """Return the contrast over independent images, from counts per class."""
    values, deviations = [], []
    for keys in zip(*(summand.keys for summand in summands), strict=True):
        total, variance = Fraction(0), Fraction(0)
        for summand, key in zip(summands, keys, strict=True):
            accuracy, spread = _accuracy(records[key].record.test, summand.classes)
            total += summand.coefficient * accuracy
            variance += summand.coefficient**2 * spread
        values.append(total)
        deviations.append(root(variance))
    low, high = unpaired_interval(values, deviations)
    shift, error = value - 100 * mean(values), 100 * mean(deviations)
    p = math.erfc(abs(value / error) / math.sqrt(2)) if error else float(value == 0)
    return Contrast(value, (low + shift, high + shift), measured(p))


def _accuracy(
    run: EvaluationResult | None, classes: tuple[int, ...] | None
) -> tuple[Fraction, Fraction]:
    """Return an accuracy and its variance over test images."""
    if run is None:
        raise ValueError("a contrast needs tested runs")
    if classes is not None:
        return mean_recall(run, classes), variance_of_mean(run, classes)
    counts = [(hits, n) for hits, n in zip(run.hits, run.totals, strict=True) if n]
    weighted = sum((n**2 * recall_variance(hits, n) for hits, n in counts), Fraction(0))
    return run.accuracy, weighted / sum(run.totals) ** 2
