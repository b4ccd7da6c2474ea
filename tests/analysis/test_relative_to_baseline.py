"""Gain over softmax."""

from fractions import Fraction

from ltbench.analysis.relative_to_baseline import gain
from ltbench.analysis.result_set import boards

SOFTMAX = {"label": "Softmax", "method": "softmax"}
A, B = ({"label": label, "method": label.lower()} for label in "AB")
RIGHT = {("Softmax", 0): 100, ("Softmax", 1): 160, ("A", 0): 120, ("B", 2): 200}
"""Correct ones of 300 images, by variant and seed."""


def test_the_gain_is_over_the_seeds_that_both_have(toy):
    """Softmax has 33.3 % with seed 0 and 53.3 % with seed 1, A 40 % with seed 0."""
    plan = toy.plan([SOFTMAX, A, B], seeds=(0, 1, 2), splits=("longtailed",))
    records = toy.stored(
        *(toy.answered(plan, label, seed, range(n)) for (label, seed), n in RIGHT.items())
    )
    (board,) = boards(plan, records)
    softmax, a, b = board.entries
    assert gain(a, softmax, records) == (Fraction(20, 3), 1)
    assert gain(b, softmax, records) is None, "no seed in common"
    assert gain(softmax, softmax, records) is None
