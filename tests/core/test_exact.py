from fractions import Fraction
from math import nextafter, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbench.analysis.label_shift_accuracy import shifted_accuracy
from ltbench.core.exact import (
    fixed,
    in_decimals,
    mean,
    mean_accuracy,
    measured,
    percent,
    root,
    significant,
)
from ltbench.core.label_shift import Shift

TIES = [
    ("43.55", "43.6"),
    ("43.45", "43.4"),
    ("-0.05", "0.0"),
    ("0.15", "0.2"),
    ("99.95", "100.0"),
]


@pytest.mark.parametrize(("number", "text"), TIES)
def test_ties_are_rounded_to_even(number, text):
    assert fixed(Fraction(number), 1) == text


def test_numbers_have_flags_and_all_their_digits():
    assert fixed(Fraction(1234567, 2), 0, ",") == "617,284"
    assert fixed(Fraction(1, 3), 4, "+") == "+0.3333"
    assert [fixed(Fraction(n, 100), 1, "+") for n in (-6, -4, 0, 4, 6)] == [
        *("-0.1", "0.0", "0.0", "0.0", "+0.1")
    ]
    assert fixed(Fraction(10**20, 3), 1) == "33333333333333333333.3"
    assert significant(Fraction(12345, 10**7), 3) == "0.00123"
    assert significant(Fraction(1, 10**9), 3) == "1e-09"


@given(st.fractions(), st.integers(0, 6))
def test_units_of_a_decimal_are_those_of_round(number, decimals):
    assert Fraction(in_decimals(number, decimals), 10**decimals) == round(number, decimals)
    assert percent(number) == 100 * number


@given(st.floats(1e-3, 1e6).map(lambda number: float(f"{number:.6g}")))
def test_a_float_next_to_a_measured_one_is_the_same(number):
    near = {measured(nextafter(number, end)) for end in (0.0, 1e9)}
    assert near == {measured(number)} == {Fraction(f"{number:.6g}")}


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_roots_of_squares_are_exact(above, below):
    number = Fraction(above, below)
    assert root(number**2) == number
    assert float(root(number)) == pytest.approx(sqrt(above / below), rel=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 12))
def test_roots_of_any_degree_lie_within_half_a_unit(above, below, degree):
    number = Fraction(above, below)
    assert root(number**degree, degree) == number
    found, half = root(number, degree), Fraction(1, 2 * 10**18)
    assert found**degree == number or (found - half) ** degree < number < (found + half) ** degree


def test_root_of_huge_counts():
    number = Fraction(3**8142 + 1, 7**8142)
    low, high = (root(number, 8142) + Fraction(sign, 2 * 10**18) for sign in (-1, 1))
    assert low < Fraction(3, 7) < high


def test_means_are_exact():
    assert mean([Fraction(1, 3), Fraction(1, 6), Fraction(1, 2)]) == Fraction(1, 3)
    assert mean_accuracy((1, 2, 0), (3, 8, 0)) == Fraction(7, 24)
    assert mean_accuracy((1, 2, 5), (3, 8, 5), (1, 3, 0)) == Fraction(13, 48)
    assert mean_accuracy((0, 1), (0, 2), (1, 0)) is None


def test_an_expected_accuracy_is_the_exact_mean_of_classes():
    """The float sum is above or below a tie, by processor."""
    hits = (871, 825, 604, 445, 402, 303, 297, 250, 208, 150)
    uniform = shifted_accuracy(hits, (1000,) * 10, range(10), Shift("uniform"))
    assert uniform == Fraction(4355, 10000)
    assert fixed(100 * uniform, 1) == "43.6"
