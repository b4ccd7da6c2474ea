import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbench.analysis.label_shift_accuracy import shifted_accuracy
from ltbench.core.label_shift import SHIFTS, Shift

HITS, TOTALS, COUNTS = (9, 5, 1), (10, 10, 10), (100, 10, 1)


def test_worked_examples():
    # forward 4: frequencies 1, 1/2, 1/4; backward 4: 1/4, 1/2, 1
    forward = (0.9 + 0.5 / 2 + 0.1 / 4) / 1.75
    backward = (0.9 / 4 + 0.5 / 2 + 0.1) / 1.75
    assert shifted_accuracy(HITS, TOTALS, COUNTS, Shift("forward", 4)) == pytest.approx(forward)
    assert shifted_accuracy(HITS, TOTALS, COUNTS, Shift("backward", 4)) == pytest.approx(backward)


def test_the_order_of_classes_comes_from_training():
    shift = Shift("forward", 25)
    turned = shifted_accuracy(HITS[::-1], TOTALS, COUNTS[::-1], shift)
    assert turned == pytest.approx(shifted_accuracy(HITS, TOTALS, COUNTS, shift))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 500)), min_size=2, max_size=30))
def test_uniform_is_balanced_accuracy_and_shifts_stay_within_the_classes(classes):
    hits, counts = zip(*classes, strict=True)
    totals = [20] * len(hits)
    fractions = [h / 20 for h in hits]
    uniform = shifted_accuracy(hits, totals, counts, Shift("uniform"))
    assert uniform == pytest.approx(sum(fractions) / len(fractions))
    for shift in SHIFTS:
        accuracy = shifted_accuracy(hits, totals, counts, shift)
        assert min(fractions) - 1e-12 <= accuracy <= max(fractions) + 1e-12


def test_class_ranks_follow_the_training_counts():
    assert Shift("forward", 4).class_ranks((5, 100, 7, 5)) == [2, 0, 1, 3]
    assert Shift("backward", 4).class_ranks((5, 100, 7, 5)) == [1, 3, 2, 0]


def test_classes_without_test_images_are_left_out():
    assert shifted_accuracy((0, 5), (0, 10), (9, 1), Shift("forward", 50)) == 0.5
    assert shifted_accuracy((0, 0), (0, 0), (9, 1), Shift("uniform")) is None


def test_eleven_columns_from_forward_to_backward():
    assert [s.title for s in SHIFTS][::5] == ["Forward 50", "Uniform", "Backward 50"]
    assert len(SHIFTS) == 11
