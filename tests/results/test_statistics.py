import pytest

from ltbench.results.statistics import Summary, holm, summarise


def test_sample_deviation():
    summary = summarise([0.5, 0.6, 0.7])
    assert summary.mean == pytest.approx(0.6)
    assert summary.std == pytest.approx(0.1)  # divisor n - 1; with n it would be 0.0816
    assert summary.n == 3


def test_one_seed_has_no_deviation():
    assert summarise([0.5]) == Summary(0.5, None, 1)


def test_holm_steps_down_in_the_order_given():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
