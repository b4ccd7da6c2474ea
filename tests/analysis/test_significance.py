from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy import stats

from ltbench.analysis.result_set import boards
from ltbench.analysis.significance import (
    EXACT,
    Correctness,
    bootstrap,
    compare,
    compare_with,
    compare_with_baseline,
    mcnemar,
)
from ltbench.runs.record import EvaluationResult

SOFTMAX = {"label": "Softmax", "method": "softmax"}
BALANCED = {"label": "BS", "method": "balanced_softmax"}
OTHER = {"label": "Other", "method": "other"}


def runs(*rows, test_hash="t"):
    return {
        seed: Correctness(
            f"k{seed}", test_hash, EvaluationResult.pack(np.array(row, bool)), len(row)
        )
        for seed, row in enumerate(rows)
    }


def signs(gained, lost):
    return np.array([1] * gained + [-1] * lost + [0] * 7)


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (9, 2), (3, 3), (60, 90), (150, 50)])
def test_few_differences_have_the_exact_mid_p(gained, lost):
    total, fewer = gained + lost, min(gained, lost)
    exact = stats.binomtest(fewer, total).pvalue
    once = stats.binom.pmf(fewer, total, 0.5)
    expected = exact - once if gained != lost else 1.0
    assert mcnemar(signs(gained, lost)) == pytest.approx(expected)


def test_many_differences_have_the_chi_squared_p():
    expected = stats.chi2.sf((150 - 100) ** 2 / 250, 1)
    assert mcnemar(signs(150, 100)) == pytest.approx(expected)
    below, above = mcnemar(signs(115, 85)), mcnemar(signs(116, 85))
    assert EXACT == 200
    assert above < below < 1.2 * above  # where the two forms meet


def test_over_seeds_signs_are_drawn_per_image():
    differences = np.array([2, 2, -1, 3, 0, 1, -2])
    moved = differences[differences != 0]
    sums = [abs(np.dot(s, moved)) for s in product((-1, 1), repeat=len(moved))]
    seen = abs(differences.sum())
    expected = np.mean([(total > seen) + 0.5 * (total == seen) for total in sums])
    assert mcnemar(differences) == pytest.approx(expected)
    thrice = 3 * signs(9, 2)  # the same network three times says no more than once
    assert mcnemar(thrice) == pytest.approx(mcnemar(signs(9, 2)))


def test_equal_predictions_are_not_significant():
    one = runs([1, 0, 1, 1], [0, 0, 1, 1])
    same = compare(one, one)
    assert (same.difference, same.interval, same.p) == (0.0, (0.0, 0.0), 1.0)
    assert (same.gained, same.lost, same.verdict) == (0, 0, "not significant")


def test_a_comparison_counts_predictions_by_seed():
    found = compare(runs([1, 1, 1, 0], [1, 1, 0, 0]), runs([0, 0, 1, 1], [1, 0, 0, 0]))
    assert found.difference == pytest.approx(100 * (0.25 + 0.25) / 2)
    assert (found.gained, found.lost, found.n) == (3, 1, 2)
    assert found.keys == ("k0", "k1", "k0", "k1")


def test_the_interval_of_one_seed_equals_resampled_images():
    rng = np.random.default_rng(3)
    ours, theirs = (rng.random((1, 900)) < p for p in (0.7, 0.6))
    found = compare(runs(*ours), runs(*theirs))
    resampled = rng.integers(900, size=(4000, 900))
    means = 100 * (ours[0].astype(int) - theirs[0].astype(int))[resampled].mean(axis=1)
    assert found.interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.3)


def test_the_interval_equals_resampled_seeds_and_images():
    rng = np.random.default_rng(4)
    hard = rng.random(600)
    ours, theirs = (
        np.array([rng.random(600) < np.clip(hard + gain, 0, 1) for gain in gains])
        for gains in ((0.2, 0.1, 0.3), (0.0, 0.05, 0.0))
    )
    differences = ours.astype(int) - theirs
    means = [
        100 * differences[rng.integers(3, size=3)][:, rng.integers(600, size=600)].mean()
        for _ in range(4000)
    ]
    found = compare(runs(*ours), runs(*theirs))
    assert found.interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.6)


def test_seeds_that_disagree_are_not_significant():
    rng = np.random.default_rng(5)
    base = rng.random((2, 5000)) < 0.5
    ours = np.array([base[0] | (rng.random(5000) < 0.4), base[1] & (rng.random(5000) < 0.9)])
    found = compare(runs(*ours), runs(*base))
    assert found.p < 1e-6
    assert found.verdict == "not significant"


def test_a_bootstrap_without_any_spread_is_a_point():
    assert bootstrap(np.full(2000, 7), np.zeros(2000), Fraction(1)) == (7, 7)


def test_no_interval_is_beyond_100_points():
    low, high = bootstrap(np.full(2000, 9), np.full(2000, 4.0), Fraction(10))
    assert 0 < low < 90
    assert high == 100
    assert bootstrap(np.full(2000, -9), np.full(2000, 4.0), Fraction(10))[0] == -100


def test_only_common_seeds_with_equal_test_images_are_compared():
    one = runs([1, 0, 1, 1], [0, 0, 1, 1])
    assert compare(one, runs([1, 1, 1, 1], test_hash="u")) is None
    assert compare({0: one[0]}, {1: one[1]}) is None
    assert compare(one, {1: one[1]}).n == 1


@pytest.fixture
def world(toy):
    plan = toy.plan([SOFTMAX, BALANCED, OTHER], splits=("longtailed",))
    right = {"Softmax": range(100), "BS": range(40, 240), "Other": range(5, 110)}
    records = toy.stored(
        *(
            toy.answered(plan, label, seed, images)
            for label, images in right.items()
            for seed in (0, 1)
            if (label, seed) != ("Other", 1)
        )
    )
    return boards(plan, records)[0], records


def test_variants_are_compared_with_each_baseline_and_corrected(world):
    board, records = world
    found = compare_with_baseline(board, records)
    assert list(found) == ["BS", "Other"]
    assert found["BS"].difference == pytest.approx(100 * 100 / 300)
    assert (found["BS"].gained, found["BS"].lost) == (280, 80)
    assert found["BS"].verdict == "better"
    assert found["BS"].corrected == pytest.approx(2 * found["BS"].p)
    assert found["Other"].n == 1
    assert found["Other"].verdict == "not significant"
    balanced = compare_with_baseline(board, records, "balanced_softmax")
    assert balanced["Softmax"].verdict == "worse"
    assert balanced["Softmax"].difference == -found["BS"].difference
    assert compare_with_baseline(board, records, "crt") == {}
    assert compare_with(board.entries[1], board, records) == balanced


def test_the_verdict_uses_the_corrected_p(toy):
    plan = toy.plan([SOFTMAX, BALANCED, OTHER], seeds=(0,), splits=("longtailed",))
    images = {"Softmax": range(100), "BS": range(3, 111), "Other": range(100)}
    records = toy.stored(*(toy.answered(plan, label, 0, r) for label, r in images.items()))
    [board] = boards(plan, records)
    found = compare_with_baseline(board, records)["BS"]
    assert (found.gained, found.lost) == (11, 3)
    assert found.interval[0] > 0
    assert found.p < 0.05 < found.corrected
    assert found.verdict == "not significant"
