from fractions import Fraction
from math import erfc, sqrt

import numpy as np
import pytest

from ltbench.analysis.contrasts import Summand, contrast, merged
from ltbench.analysis.significance import compare, correctness_of

VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "BS", "method": "balanced_softmax"},
]


@pytest.fixture
def runs(toy):
    """Return two variants' records of two seeds, with random correct images, and their keys."""
    plan, rng = toy.plan(VARIANTS, splits=("longtailed",)), np.random.default_rng(0)
    made = [
        toy.answered(plan, label, seed, rng.choice(300, size=size, replace=False).tolist())
        for label, size in (("Softmax", 150), ("BS", 190))
        for seed in (0, 1)
    ]
    return toy.stored(*made), [tuple(r.key for r in made[:2]), tuple(r.key for r in made[2:])]


def accuracy(records, keys, classes=range(6)):
    tests = [records[key].record.test for key in keys]
    return sum(sum(t.hits[k] for k in classes) for t in tests) / (2 * 50 * len(classes))


def test_summands_of_one_accuracy_add_up_or_cancel():
    one, other = ("a", "b"), ("c", "d")
    summands = [Summand(Fraction(1), one), Summand(Fraction(-1), other), Summand(Fraction(-1), one)]
    assert merged(summands) == (Summand(Fraction(-1), other),)
    assert merged([*summands, Summand(Fraction(1), other, (0,))])[1].classes == (0,)


def test_a_difference_of_two_accuracies_is_the_paired_comparison(runs):
    records, (softmax, ours) = runs
    summands = merged([Summand(Fraction(1), ours), Summand(Fraction(-1), softmax)])
    found = contrast(Fraction(5), summands, records)
    known = compare(*(correctness_of(records[k].record for k in keys) for keys in (ours, softmax)))
    assert (found.p, found.interval) == (known.p, known.interval)


def test_accuracies_of_classes_are_unpaired(runs):
    records, (softmax, ours) = runs
    value = 100 * (accuracy(records, ours, (4, 5)) - accuracy(records, softmax, (4, 5)))
    summands = [Summand(Fraction(1), ours, (4, 5)), Summand(Fraction(-1), softmax, (4, 5))]
    found = contrast(Fraction(value), summands, records)
    errors = []
    for pair in zip(ours, softmax, strict=True):
        variance = 0.0
        for key in pair:
            rates = [(records[key].record.test.hits[k] + 1) / 52 for k in (4, 5)]
            variance += sum(p * (1 - p) / 50 for p in rates) / 4
        errors.append(100 * sqrt(variance))
    error = sum(errors) / 2
    assert float(found.p) == pytest.approx(erfc(abs(value) / error / sqrt(2)))
    low, high = map(float, found.interval)
    assert low < value < high
    assert high - low >= 2 * 1.96 * error * 0.95


def test_all_images_are_unpaired_if_coefficients_are_not_whole(runs):
    records, (softmax, ours) = runs
    half = [Summand(Fraction(1, 2), ours), Summand(Fraction(-1, 2), softmax)]
    value = Fraction(50 * (accuracy(records, ours) - accuracy(records, softmax)))
    paired = contrast(2 * value, [Summand(2 * p.coefficient, p.keys) for p in half], records)
    found = contrast(value, half, records)
    assert found.p != paired.p
    assert float(found.p) == pytest.approx(float(paired.p), abs=0.02)


def test_a_ratio_is_shifted_to_its_value(runs):
    records, (softmax, ours) = runs
    ratio = accuracy(records, softmax) / accuracy(records, ours)
    weight = Fraction(1 / accuracy(records, ours))
    summands = [Summand(weight, softmax), Summand(-weight * Fraction(ratio), ours)]
    low, high = map(float, contrast(Fraction(100 * ratio), summands, records).interval)
    assert low < 100 * ratio < high


def test_nothing_to_compare_is_not_significant():
    assert contrast(Fraction(0), (), {}).p == 1
