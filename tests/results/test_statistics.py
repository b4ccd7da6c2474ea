import pytest

from ltbench.results.statistics import Summary, summarise


def test_sample_deviation():
    summary = summarise([0.5, 0.6, 0.7])
    assert summary.mean == pytest.approx(0.6)
    assert summary.std == pytest.approx(0.1)  # divisor n - 1; with n it would be 0.0816
    assert summary.n == 3


def test_one_seed_has_no_deviation():
    assert summarise([0.5]) == Summary(0.5, None, 1)
