import itertools
from fractions import Fraction

import numpy as np
import pytest

from ltbench.analysis.relative_accuracy import relative_accuracy

HALF = [Fraction(1, 2)]


def exact(*numbers):
    """Return numbers as the rationals that they are written as."""
    return [Fraction(str(number)) for number in numbers]


def test_worked_example():
    """By hand: A_v 0.70, 0.74 -> 0.72; A_b 0.80, 0.60 -> 0.70; so UA 0.72 and RA 0.54 / 0.72."""
    result = relative_accuracy(exact(0.50, 0.58), exact(0.70, 0.74), exact(0.80, 0.60))
    assert result.upper.mean == pytest.approx(0.72)
    assert result.upper.std == pytest.approx(0.04 / np.sqrt(2))
    assert result.relative == pytest.approx(0.75)


def test_maximum_of_means_not_mean_of_maxima():
    result = relative_accuracy(exact(0.5, 0.5), exact(0.8, 0.6), exact(0.6, 0.8))
    assert result.upper.mean == pytest.approx(0.7)  # seed by seed it would be 0.8


def test_the_method_itself_can_be_the_reference():
    result = relative_accuracy(exact(0.573), exact(0.573), exact(0.619))
    assert result.upper.mean == Fraction(619, 1000)
    assert result.relative == Fraction(573, 619)
    assert result.interval is None


def test_interval_draws_seeds_together():
    """Acc is always half of A_v: whatever seeds are drawn, RA is one half."""
    vanilla = exact(0.6, 0.7, 0.8, 0.9)
    result = relative_accuracy([v / 2 for v in vanilla], vanilla, exact(0.1) * 4)
    assert result.interval == pytest.approx((0.5, 0.5))


def test_interval_agrees_with_every_possible_draw():
    accuracy = exact(0.50, 0.56, 0.47, 0.52, 0.55)
    vanilla = exact(0.70, 0.74, 0.69, 0.71, 0.73)
    balanced = exact(0.71, 0.70, 0.72, 0.74, 0.71)
    ratios = []
    for draw in itertools.product(range(5), repeat=5):
        a, v, b = ([runs[i] for i in draw] for runs in (accuracy, vanilla, balanced))
        ratios.append(float(sum(a) / max(sum(v), sum(b))))
    low, high = np.quantile(ratios, [0.025, 0.975])
    result = relative_accuracy(accuracy, vanilla, balanced)
    assert result.interval == pytest.approx((low, high), abs=2e-3)
    assert result == relative_accuracy(accuracy, vanilla, balanced)


@pytest.mark.parametrize("runs", [([], [], []), (HALF, [0], [0]), (HALF * 2, HALF, HALF * 2)])
def test_runs_without_a_ratio_are_refused(runs):
    with pytest.raises(ValueError, match="UA"):
        relative_accuracy(*runs)


def test_a_seed_without_any_hit_gives_no_interval():
    assert relative_accuracy(exact(0.5, 0.0), exact(0.6, 0.0), exact(0.6, 0.0)).interval is None
