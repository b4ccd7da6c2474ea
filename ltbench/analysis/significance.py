"""Whether a variant is better than another, from what both answered on the same test images.

Runs are paired by seed, answers by test image: d_is = 1 where the first variant alone is right on
image i with seed s, -1 where the second alone is, else 0. Two questions are asked of them:

- Do these trained networks differ? McNemar's test (Psychometrika 1947), over seeds in the form for
  clusters (Durkalski et al., Statistics in Medicine 2003): an image counts once, by the sum d_i of
  its d_is over seeds, and the sum of the d_i is held against random signs of them. Of few answers:
  the exact distribution and its mid-p (Fagerland et al., BMC Medical Research Methodology 2013). Of
  many: chi-squared with (sum_i d_i)^2 / sum_i d_i^2.
- Would they with other seeds and images? The bootstrap interval of the mean difference that draws
  seeds and images apart (Owen, "The Pigeonhole Bootstrap", Annals of Applied Statistics 2007). The
  mean over resampled images is drawn from its normal limit, so that no images are resampled.

A variant is "better" or "worse" where both say so: p after Holm's correction below 5 %, and zero
outside the 95 % interval. With one seed nothing is known of other seeds, and a reader must be told.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache
from itertools import combinations
from statistics import NormalDist
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ltbench.analysis.result_set import ResultSet, VariantResult
from ltbench.analysis.statistics import RESAMPLES, covered, holm, seed_draws
from ltbench.config.planning import BASELINE
from ltbench.core.exact import measured
from ltbench.runs.record import EvaluationResult, Record
from ltbench.runs.store import Stored

SIGNIFICANT: Final = Fraction(5, 100)
EXACT: Final = 200
"""Up to this many differing answers the distribution under random signs is computed exactly."""

Verdict = Literal["better", "worse", "not separable"]
Floats = NDArray[np.float64]
Names = TypeVar("Names")


@dataclass(frozen=True)
class Comparison:
    """How the answers of one variant differ from those of another on the same test images.

    Attributes:
        difference: of the mean accuracies over the seeds that both have, in points.
        interval: 95 % bootstrap interval of the difference over seeds and images, in points.
        p: of McNemar's test.
        corrected: p after Holm's correction for all comparisons that were made with it.
        n: seeds that both have.
        gained, lost: answers, over all seeds, that this variant alone or the other alone got right.
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
    def verdict(self) -> Verdict:
        """What can be said at the 5 % level."""
        low, high = self.interval
        if self.corrected >= SIGNIFICANT or low <= 0 <= high:
            return "not separable"
        return "better" if low > 0 else "worse"


@dataclass(frozen=True)
class Correctness:
    """Which of the test images, named by their hash, the run of a record got right.

    Attributes:
        correct: one bit an image, as the record has them.
        images: their number.
    """

    key: str
    test_hash: str
    correct: str
    images: int

    def right(self) -> NDArray[np.bool_]:
        """Return one value for each test image: [N]."""
        return EvaluationResult.unpack(self.correct, self.images)


def correctness_of(records: Iterable[Record]) -> dict[int, Correctness]:
    """Return the correctness of a variant's runs by seed; those without a test have none."""
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
    """Compare the runs of two variants by seed; None without a seed that both have.

    Runs that were tested on other images than the first are none that can be compared with it.
    """
    pairs = tuple((ours[seed], theirs[seed]) for seed in ours if seed in theirs)
    if not pairs or len({run.test_hash for pair in pairs for run in pair}) > 1:
        return None
    return compare_runs(pairs)


@lru_cache(maxsize=10_000)  # the tables of a page ask for the same pairs again
def compare_runs(pairs: tuple[tuple[Correctness, Correctness], ...]) -> Comparison:
    """Compare pairs of runs, each of the same seed, all on the same test images."""
    first, second = (np.array([pair[i].right() for pair in pairs], np.int64) for i in range(2))
    differences = first - second  # [S, N]
    seeds, images = differences.shape
    sums, products = differences.sum(axis=1), differences @ differences.T  # [S], [S, S]
    drawn = seed_draws(seeds)  # [RESAMPLES, S]
    spread = images * products - np.outer(sums, sums)  # the covariance of sums, times images
    variances = ((drawn @ spread) * drawn).sum(axis=1) / images
    low, high = bootstrap(drawn @ sums, np.sqrt(variances))
    answers, surplus = int(np.abs(differences).sum()), int(sums.sum())
    p, scale = mcnemar(differences.sum(axis=0)), Fraction(100, seeds * images)
    return Comparison(
        difference=scale * surplus,
        interval=(scale * low, scale * high),
        p=p,
        corrected=p,
        n=len(pairs),
        gained=(answers + surplus) // 2,
        lost=(answers - surplus) // 2,
        keys=tuple(pair[i].key for i in range(2) for pair in pairs),
    )


def mcnemar(differences: NDArray[np.int64]) -> Fraction:
    """Return McNemar's two-sided p-value of the differences [N] of images, summed over seeds."""
    sizes = np.abs(differences)
    total, surplus = int(sizes.sum()), abs(int(differences.sum()))
    if total == 0:
        return Fraction(1)
    if total > EXACT:
        return measured(math.erfc(surplus / math.sqrt(2 * int((sizes * sizes).sum()))))
    ways = np.ones(1, object)  # to draw signs so that the positive sizes have a sum, 0 to total
    for size, number in enumerate(np.bincount(sizes)[1:].tolist(), start=1):
        spaced = np.zeros(size * number + 1, object)
        spaced[::size] = [math.comb(number, k) for k in range(number + 1)]
        ways = np.convolve(ways, spaced)
    lower = (total - surplus) // 2
    extreme = 2 * sum(ways[:lower].tolist()) + int(ways[lower])
    return min(Fraction(1), Fraction(extreme, 2 ** int((sizes > 0).sum())))


def bootstrap(sums: NDArray[np.int64], deviations: Floats) -> tuple[Fraction, Fraction]:
    """Return the 95 % interval of a sum over seeds when seeds and images are drawn again.

    Args:
        sums: [RESAMPLES], of the seeds drawn.
        deviations: [RESAMPLES], of these sums over draws of images.
    """
    return covered(sums + _normal_draws() * deviations)


@cache
def _normal_draws() -> Floats:
    """Return evenly spread quantiles of the standard normal distribution in a random order."""
    quantile = NormalDist().inv_cdf
    even = [float(measured(quantile((i + 0.5) / RESAMPLES))) for i in range(RESAMPLES)]
    return np.random.default_rng(1).permutation(even)


def find_baseline(board: ResultSet, method: str) -> VariantResult | None:
    """Return the variant of a board that is a method as it is, from scratch, under its recipe."""
    for entry in board.entries:
        variant = entry.variant
        if variant.method == method and not (variant.hparams or variant.recipe or entry.init_jobs):
            return entry
    return None


def compare_rows(
    board: ResultSet, records: Mapping[str, Stored], baseline: str = BASELINE
) -> dict[str, Comparison]:
    """Compare every variant of a board with the plain variant of a method, as `compare_with`."""
    base = find_baseline(board, baseline)
    return {} if base is None else compare_with(base, board, records)


def compare_with(
    base: VariantResult, board: ResultSet, records: Mapping[str, Stored]
) -> dict[str, Comparison]:
    """Compare all variants of a board with one, with corrected p-values.

    That one itself, and variants that share no seed with it, are not among them.

    Args:
        base: what the others are compared with.
        board: the variants.
        records: sound records by key.
    """
    theirs = _correctness(base, records)
    found = {
        entry.variant.label: compare(_correctness(entry, records), theirs)
        for entry in board.entries
        if entry is not base
    }
    return _corrected(found)


def compare_pairs(
    board: ResultSet, records: Mapping[str, Stored]
) -> dict[tuple[str, str], Comparison]:
    """Compare every two variants of a board, by their labels; p corrected for all of them."""
    runs = {entry.variant.label: _correctness(entry, records) for entry in board.entries}
    pairs = combinations(runs, 2)
    return _corrected({(a, b): compare(runs[a], runs[b]) for a, b in pairs})


def _correctness(entry: VariantResult, records: Mapping[str, Stored]) -> dict[int, Correctness]:
    return correctness_of(records[key].record for key in entry.values["acc"].keys)


def _corrected(found: Mapping[Names, Comparison | None]) -> dict[Names, Comparison]:
    made = {names: comparison for names, comparison in found.items() if comparison is not None}
    corrected = holm([comparison.p for comparison in made.values()])
    return {
        names: replace(comparison, corrected=p)
        for (names, comparison), p in zip(made.items(), corrected, strict=True)
    }
