"""Paired significance tests of two variants: McNemar's test and a bootstrap interval.

Runs are paired by seed, predictions by test image: d_is = 1 if only the first variant is correct on
image i with seed s, -1 if only the second is, else 0. Two questions are asked:

- Do these trained networks differ? McNemar's test (Psychometrika 1947), over seeds in the form for
  clustered data (Durkalski et al., Statistics in Medicine 2003): an image counts once, by the sum
  d_i of its d_is over seeds, and the sum of the d_i is compared to that under random signs. For few
  discordant predictions: the exact distribution and its mid-p (Fagerland et al., BMC Medical
  Research Methodology 2013). For many: chi-squared of (sum_i d_i)^2 / sum_i d_i^2.
- Would they with other seeds and images? The bootstrap interval of the mean difference that
  resamples seeds and images independently (Owen, "The Pigeonhole Bootstrap", Annals of Applied
  Statistics 2007). The mean over resampled images is drawn from its normal limit.

A variant is "better" or "worse" if both agree: p after Holm's correction below 5 %, and zero
outside the 95 % interval. A single seed says nothing about other seeds, which readers must be told.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache
from statistics import NormalDist
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ltbench.analysis.result_set import ResultSet, VariantResult
from ltbench.analysis.statistics import RESAMPLES, holm, percentile_interval, seed_draws
from ltbench.config.planning import BASELINE
from ltbench.core.exact import measured
from ltbench.runs.record import EvaluationResult, Record
from ltbench.runs.store import Stored

SIGNIFICANT: Final = Fraction(5, 100)
EXACT: Final = 200
"""Number of discordant predictions up to which McNemar's test is exact."""

ComparisonVerdict = Literal["better", "worse", "not significant"]
Floats = NDArray[np.float64]


def separation(corrected: Fraction, interval: tuple[Fraction, Fraction]) -> int:
    """Return the sign of a difference, 0 if not significant.

    Args:
        corrected: its p after Holm's correction.
        interval: its 95 % bootstrap interval.
    """
    low, high = interval
    if corrected >= SIGNIFICANT or low <= 0 <= high:
        return 0
    return 1 if low > 0 else -1


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two variants on the same test images.

    Attributes:
        difference: of the mean accuracies over the common seeds, in points.
        interval: 95 % bootstrap interval of the difference over seeds and images, in points.
        p: of McNemar's test.
        corrected: p after Holm's correction for all comparisons of the same table.
        n: number of common seeds.
        gained, lost: predictions, over all seeds, that only this or only the other variant has
            correct.
        keys: of the records, this variant's before the other's.
    """

    difference: Fraction
    interval: tuple[Fraction, Fraction]
    p: Fraction
    corrected: Fraction
    n: int
    gained: int
    lost: int
    keys: tuple[str, ...]

    @property
    def verdict(self) -> ComparisonVerdict:
        """The verdict at the 5 % level."""
        verdicts: tuple[ComparisonVerdict, ...] = ("not significant", "better", "worse")
        return verdicts[separation(self.corrected, self.interval)]


@dataclass(frozen=True)
class Correctness:
    """Correctness of a run's predictions on each test image.

    Attributes:
        key: of the record.
        test_hash: of the test images.
        correct: packed bits, one per image, as in the record.
        images: number of test images.
    """

    key: str
    test_hash: str
    correct: str
    images: int

    def unpacked(self) -> NDArray[np.bool_]:
        """Return whether each test image is correct, [N]; read-only."""
        return _unpacked(self.correct, self.images)


@lru_cache(maxsize=64)  # of a baseline, which is compared with each variant of a board
def _unpacked(correct: str, images: int) -> NDArray[np.bool_]:
    bits = EvaluationResult.unpack(correct, images)
    bits.flags.writeable = False
    return bits


def correctness_of(records: Iterable[Record]) -> dict[int, Correctness]:
    """Return the correctness of tested runs by seed."""
    return {
        record.job.seed: Correctness(
            record.key, record.split.test_hash, test.correct, sum(test.totals)
        )
        for record in records
        if (test := record.test) is not None
    }


def compare(
    ours: Mapping[int, Correctness], theirs: Mapping[int, Correctness]
) -> Comparison | None:
    """Compare two variants on their common seeds.

    Returns:
        The comparison, None without a common seed or if the test images differ.
    """
    pairs = tuple((ours[seed], theirs[seed]) for seed in ours if seed in theirs)
    if not pairs or len({run.test_hash for pair in pairs for run in pair}) > 1:
        return None
    return compare_runs(pairs)


@lru_cache(maxsize=10_000)  # the tables of a page need the same pairs several times
def compare_runs(pairs: tuple[tuple[Correctness, Correctness], ...]) -> Comparison:
    """Compare two variants from pairs of runs, one per seed."""
    first, second = (np.stack([pair[i].unpacked() for pair in pairs]) for i in range(2))
    gained, lost = (int(np.count_nonzero(each)) for each in (first > second, first < second))
    p, interval = paired_test(first.astype(np.int8) - second)
    return Comparison(
        difference=Fraction(100 * (gained - lost), first.size),
        interval=interval,
        p=p,
        corrected=p,
        n=len(pairs),
        gained=gained,
        lost=lost,
        keys=tuple(pair[i].key for i in range(2) for pair in pairs),
    )


def paired_test(
    differences: NDArray[np.signedinteger[Any]],
) -> tuple[Fraction, tuple[Fraction, Fraction]]:
    """Return McNemar's p, and the bootstrap interval in points.

    Args:
        differences: [S, N], of each test image under each seed.
    """
    seeds, images = differences.shape
    signs = differences.astype(np.float64)  # faster, and exact for whole numbers below 2**53
    sums, products = signs.sum(axis=1), np.array([signs @ row for row in signs])  # [S], [S, S]
    counts = seed_draws(seeds)  # [RESAMPLES, S]
    covariance = images * products - np.outer(sums, sums)  # of sums, times images
    variances = np.einsum("rs,rs->r", counts @ covariance, counts) / images
    interval = bootstrap(counts @ sums, np.sqrt(variances), Fraction(100, seeds * images))
    return mcnemar(signs.sum(axis=0).astype(np.int64)), interval


def mcnemar(differences: NDArray[np.int64]) -> Fraction:
    """Return the two-sided p-value of McNemar's test.

    Args:
        differences: [N], of each image, summed over seeds.
    """
    sizes = np.abs(differences)
    total, surplus = int(sizes.sum()), abs(int(differences.sum()))
    if total == 0:
        return Fraction(1)
    if total > EXACT:
        return measured(math.erfc(surplus / math.sqrt(2 * int((sizes * sizes).sum()))))
    ways = np.ones(1, object)  # number of sign patterns by the sum of positive sizes, 0 to total
    for size, number in enumerate(np.bincount(sizes)[1:].tolist(), start=1):
        spaced = np.zeros(size * number + 1, object)
        spaced[::size] = [math.comb(number, k) for k in range(number + 1)]
        ways = np.convolve(ways, spaced)
    lower = (total - surplus) // 2
    extreme = 2 * sum(ways[:lower].tolist()) + int(ways[lower])
    return min(Fraction(1), Fraction(extreme, 2 ** int((sizes > 0).sum())))


def bootstrap(
    sums: Floats | NDArray[np.int64], deviations: Floats, scale: Fraction
) -> tuple[Fraction, Fraction]:
    """Return the 95 % bootstrap interval of a difference, in points.

    No difference of accuracies is beyond 100 points, and so no end of the interval.

    Args:
        sums: [RESAMPLES], of the resampled seeds.
        deviations: [RESAMPLES], of these sums over resampled images.
        scale: points per unit of the sums.
    """
    low, high = percentile_interval(sums + _normal_draws() * deviations)
    return max(scale * low, Fraction(-100)), min(scale * high, Fraction(100))


@cache
def _normal_draws() -> Floats:
    """Return evenly spaced quantiles of the standard normal distribution, shuffled."""
    quantile = NormalDist().inv_cdf
    even = [float(measured(quantile((i + 0.5) / RESAMPLES))) for i in range(RESAMPLES)]
    return np.random.default_rng(1).permutation(even)


def find_baseline(board: ResultSet, method: str) -> VariantResult | None:
    """Return a method's default variant, trained from scratch under the board's recipe."""
    for entry in board.entries:
        variant = entry.variant
        if variant.method == method and variant.is_default and not entry.init_jobs:
            return entry
    return None


def compare_with_baseline(
    board: ResultSet, records: Mapping[str, Stored], method: str = BASELINE
) -> dict[str, Comparison]:
    """Compare all variants of a board with a method's default variant."""
    baseline = find_baseline(board, method)
    return {} if baseline is None else compare_with(baseline, board, records)


def compare_with(
    reference: VariantResult, board: ResultSet, records: Mapping[str, Stored]
) -> dict[str, Comparison]:
    """Compare all other variants of a board with one.

    Args:
        reference: the variant that the others are compared with.
        board: the variants.
        records: valid records by key.

    Returns:
        Comparisons by label, p corrected for all of them; none for variants that share no seed
        with the reference.
    """
    theirs = _correctness(reference, records)
    pairs = {
        entry.variant.label: compare(_correctness(entry, records), theirs)
        for entry in board.entries
        if entry is not reference
    }
    comparisons = {label: pair for label, pair in pairs.items() if pair is not None}
    corrected = holm([comparison.p for comparison in comparisons.values()])
    return {
        label: replace(comparison, corrected=p)
        for (label, comparison), p in zip(comparisons.items(), corrected, strict=True)
    }


def _correctness(entry: VariantResult, records: Mapping[str, Stored]) -> dict[int, Correctness]:
    return correctness_of(records[key].record for key in entry.values["acc"].keys)
