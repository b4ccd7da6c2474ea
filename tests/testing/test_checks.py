"""Which check each broken method fails, and how checks are run on a method of one's own."""

import re
from math import inf, nan
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.methods import METHODS
from ltbench.testing import CHECKS, check_method, parametrize_with_checks
from ltbench.testing.checks import FailedError
from ltbench.testing.jobs import Bench, Case, largest_difference, shares
from ltbench.testing.verdicts import case_of, judge
from tests.support.errors import problems, suggested
from tests.testing import broken_methods as broken

NOT_APPLICABLE = {"init_weights", "stages", "equal_counts", "metric_terms"}
FAILED = {
    broken.Sound: set(),
    broken.RankDependentLoss: {"mean", "two_ranks"},
    broken.ForgottenState: {"interruption", "mean"},
    broken.LostBuffer: {"interruption", "saved_weights"},
    broken.WrongMean: {"mean", "two_ranks"},
    broken.ScaledSum: {"mean"},
    broken.BatchPrediction: {"two_ranks", "evaluation"},
    broken.TrainingMode: {"evaluation"},
    broken.PlainAttribute: {"stages"},
    broken.UncarriedState: {"stages"},
    broken.IndicesOfSteps: {"epoch_indices", "interruption"},
    broken.IndicesOfStepNumbers: {"epoch_indices", "interruption"},
    broken.UnsavedStatistics: {"interruption"},
    broken.NotANumber: {"single_image_classes"},
    broken.SinglePrecisionOnly: {"bf16"},
    broken.UnnamedTerm: {"metric_terms"},
}
"""The checks that each method fails; it passes all others that are applicable."""


def test_each_broken_method_has_its_expected_verdicts():
    assert set(broken.METHODS.values()) == set(FAILED)


@pytest.mark.parametrize("method", [m for m in FAILED if FAILED[m]], ids=lambda m: m.__name__)
def test_a_broken_method_fails_the_checks_of_what_it_breaks(method):
    case = case_of(method)
    bench = Bench(plugins=case.plugins)
    found = {name: judge(check, bench, case) for name, check in CHECKS.items()}
    states = {name: verdict.state for name, verdict in found.items()}
    assert {name for name, state in states.items() if state == "failed"} == FAILED[method]
    excused = NOT_APPLICABLE - ({"stages"} if len(method.stages) > 1 else set())
    excused -= {"metric_terms"} if method.metric_terms else set()
    assert {name for name, state in states.items() if state == "not applicable"} == excused


@parametrize_with_checks([broken.Sound])
def test_a_sound_method_passes(method, check):
    assert method is broken.Sound
    check(method)


def test_the_guide_describes_every_check():
    guide = (Path(__file__).parents[2] / "docs/own-method.md").read_text()
    assert re.findall(r"^\| `([a-z0-9_]+)` \|", guide, re.MULTILINE) == list(CHECKS)


def test_a_failed_check_fails_its_test():
    mark = parametrize_with_checks([broken.NotANumber]).mark
    checks = {parameter.id: parameter.values for parameter in mark.args[1]}
    method, check = checks["not_a_number-single_image_classes"]
    with pytest.raises(AssertionError, match=r"single_image_classes failed: .*nan"):
        check(method)


def test_the_error_names_all_failed_checks():
    with pytest.raises(AssertionError) as caught:
        check_method(broken.LostBuffer, "declarations", "interruption", "saved_weights")
    lines = str(caught.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["interruption", "saved_weights"]


def test_a_sound_method_raises_nothing():
    assert check_method(METHODS["crt"], "declarations", "stages") is None


def test_an_error_of_the_method_is_told_with_its_line():
    case = case_of(broken.SinglePrecisionOnly)
    verdict = judge(CHECKS["bf16"], Bench(plugins=case.plugins), case)
    source = Path(broken.__file__).read_text().splitlines()
    line = int(re.search(r"broken_methods\.py:(\d+)", verdict.sentence)[1])
    assert "index_add" in source[line - 1]


def test_a_class_that_no_file_lists_is_refused():
    class Unlisted(broken.Sound):
        pass

    Unlisted.__module__ = broken.Sound.__module__
    assert problems(lambda: case_of(Unlisted))[0][2] == "plugin"


def test_an_unknown_check_is_refused():
    def check():
        check_method(broken.Sound, "bf61")

    assert problems(check) == [("--check", "", "unknown-value")]
    assert suggested(check) == [["bf16"]]


def test_declarations_that_lack_something_are_all_named():
    class HParams(broken.Sound.HParams):
        rate: float

    class Undeclared(broken.Sound):
        title, paper, category, reduces_to = "", None, "re-waiting", "softmaxx"

    Undeclared.HParams = HParams
    with patch.object(Case, "method", Undeclared), pytest.raises(FailedError) as caught:
        CHECKS["declarations"].run(None, Case("sound"), 0)
    for words in ("title", "paper", "re-waiting", "softmaxx", "no description", "no default"):
        assert words in str(caught.value)


def test_shares_have_their_part_of_each_view_and_stream():
    labels = torch.arange(4)
    images = torch.arange(2 * 4).view(2, 4, 1, 1, 1)
    batch = Batch(images, labels, labels)
    first, second = shares({"instance": batch, "class_balanced": batch}, 2)
    assert first.keys() == second.keys() == {"instance", "class_balanced"}
    for share, expected in ((first, [0, 1]), (second, [2, 3])):
        assert share["instance"].labels.tolist() == expected
        assert share["instance"].images.flatten().tolist() == [
            *expected,
            *(4 + n for n in expected),
        ]


def test_a_difference_that_has_no_size_is_infinite():
    state = {"weight": torch.ones(2, dtype=torch.float64), "seen": torch.tensor([1, 2])}
    assert largest_difference(state, state)[0] == 0
    assert largest_difference(state | {"seen": torch.tensor([1, 3])}, state) == (inf, "seen")
    assert largest_difference({"seen": state["seen"]}, state) == (inf, "weight")
    assert largest_difference(state | {"weight": state["weight"] * nan}, state) == (inf, "weight")
    moved = state | {"weight": state["weight"] + torch.tensor([0, 0.5])}
    assert largest_difference(moved, state) == (0.5, "weight")
