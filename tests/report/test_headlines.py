"""Headlines above the tables: significance tests come before any order."""

from fractions import Fraction

import pytest

from ltbench.analysis.result_set import boards
from ltbench.core.types import NetworkCost
from ltbench.report.page.headlines import as_text, headlines
from ltbench.report.page.overview import NOT_AVAILABLE, BoardSummary

SOFTMAX = {"label": "Softmax", "method": "softmax"}
A, B = ({"label": label, "method": label.lower()} for label in "AB")
NONE = "No significant differences"


def said(toy, right, seeds=(0, 1), variants=(SOFTMAX, A, B), methods=None):
    """Return the headlines of a board, given the correct ones of 300 images per variant."""
    plan = toy.plan(list(variants), seeds=seeds, splits=("longtailed",))
    made = (toy.answered(plan, label, s, images) for label, images in right.items() for s in seeds)
    records = toy.stored(*made)
    (board,) = boards(plan, records)
    found = headlines(BoardSummary(board, methods or toy.methods, records))
    parts = [[p if isinstance(p, str) else p.variant.label for p in line] for line in found]
    return ["".join(line) for line in parts]


@pytest.mark.parametrize(("seeds", "alone"), [((0,), True), ((0, 1), False)])
def test_a_board_without_differences_says_so_before_anything_else(toy, seeds, alone):
    same = {"Softmax": range(100), "A": range(2, 103), "B": range(1, 100)}
    first, *rest, last = said(toy, same, seeds)
    assert first.startswith(f"{NONE}: no variant differs from softmax or from the most accurate")
    assert ["these trained networks alone" in line for line in rest] == [True] * alone
    assert last.startswith("Highest accuracy: A, 33.7"), "and no ranking"


def test_variants_that_differ_from_softmax_and_those_that_do_not_are_named(toy):
    first, second, *_ = said(toy, {"Softmax": range(100), "A": range(50, 250), "B": range(2, 103)})
    assert NONE not in first
    assert "better than softmax: A" in first
    assert "not significantly different: B" in first
    assert "worse" not in first
    assert second.startswith("Highest accuracy: A, 66.7 ± 0.0, +33.3 points over softmax")
    assert "every other variant is less accurate" in second


def test_without_a_variant_better_than_softmax_this_is_stated(toy):
    first, second, *_ = said(toy, {"Softmax": range(200), "A": range(50), "B": range(1, 201)})
    assert "no variant is better than softmax; worse: A; not significantly different: B" in first
    assert second.startswith("Highest accuracy: Softmax")
    assert "not significantly different from it by a paired test: B." in second


def test_the_best_alone_can_differ(toy):
    """Without softmax, the others are compared with the best."""
    right = {"A": range(50, 250), "B": range(100)}
    (first, *_) = said(toy, right, variants=(A, B))
    assert first.startswith("Highest accuracy: A, 66.7 ± 0.0; every other variant is less accurate")
    (first, *_) = said(toy, {"A": range(100), "B": range(2, 103)}, variants=(A, B))
    assert first.startswith(f"{NONE}: no variant differs from the most accurate variant")


def test_only_variants_better_than_softmax_are_named_for_their_cost(toy):
    right = {"Softmax": range(100), "A": range(50, 250), "B": range(2, 103)}
    methods = {**toy.methods, "a": toy.methods["softmax"].model_copy(update={"key": "a"})}
    methods["a"] = methods["a"].model_copy(update={"cost": NetworkCost(1000, 140.0)})
    assert not any("training cost" in line for line in said(toy, right, methods=methods))
    found = said(toy, {**right, "B": range(60, 240)}, methods=methods)
    assert "Highest at the training cost of softmax: B, 60.0 (1.0x)." in found


def test_classes_with_few_images_have_their_interval(toy):
    """The last two classes, images 200 to 299, have 10 and 5 training images."""
    more = said(toy, {"Softmax": range(100), "A": range(100, 290)}, variants=(SOFTMAX, A))
    assert more[-1] == "Highest on classes with few images: A, 90.0; softmax has 0.0."
    near = {"Softmax": [*range(40), *range(200, 240)], "A": [*range(180), *range(200, 242)]}
    assert "(not significant by its interval)" in said(toy, near, variants=(SOFTMAX, A))[-1]


def test_a_lone_variant_and_none_are_not_compared(toy):
    assert said(toy, {"A": range(100)}, variants=(SOFTMAX, A))[0].startswith("No two variants")
    (only,) = said(toy, {}, variants=(SOFTMAX, A))
    assert only.startswith("No variant has all seeds yet")


def test_a_board_without_a_complete_variant_names_the_highest_so_far(toy):
    plan = toy.plan([SOFTMAX, A], seeds=(0, 1), splits=("longtailed",))
    made = [toy.answered(plan, "Softmax", 0, range(100)), toy.answered(plan, "A", 1, range(200))]
    records = toy.stored(*made)
    (board,) = boards(plan, records)
    first, second = map(as_text, headlines(BoardSummary(board, toy.methods, records)))
    assert first == "Highest accuracy so far: A, 66.7 (1/2 seeds)."
    assert second.startswith("No variant has all seeds yet: ltbench run --grid ")


def test_the_gain_in_the_overview_is_the_paired_difference(toy):
    """A has run with seed 0 alone, with which softmax is worse than with seed 1."""
    plan = toy.plan([SOFTMAX, A, B], seeds=(0, 1), splits=("longtailed",))
    right = {("Softmax", 0): 100, ("Softmax", 1): 160, ("A", 0): 120}
    made = (toy.answered(plan, label, seed, range(n)) for (label, seed), n in right.items())
    records = toy.stored(*made)
    (board,) = boards(plan, records)
    of = BoardSummary(board, toy.methods, records)
    softmax, a, b = board.entries
    shown = of.gain(a)
    assert (shown.mean, shown.n, shown.state) == (Fraction(20, 3), 1, "partial")
    assert shown.keys == of.over_softmax["A"].keys
    assert of.gain(softmax) is None
    assert of.gain(b) is NOT_AVAILABLE
