from fractions import Fraction

from ltbench.analysis.statistics import Summary, holm, summarize


def test_sample_deviation():
    summary = summarize([Fraction(5, 10), Fraction(6, 10), Fraction(7, 10)])
    assert summary.mean == Fraction(6, 10)
    assert summary.std == Fraction(1, 10)  # divisor n - 1; with n it would be 0.0816
    assert summary.n == 3


def test_one_seed_has_no_deviation():
    assert summarize([Fraction(1, 2)]) == Summary(Fraction(1, 2), None, 1)


def test_holm_steps_down_in_the_order_given():
    p = [Fraction(n, 1000) for n in (10, 40, 30, 5)]
    assert holm(p) == [Fraction(n, 1000) for n in (30, 60, 60, 20)]
    assert holm([Fraction(6, 10), Fraction(9, 10)]) == [1, 1]
    assert holm([]) == []
