import pickle
import re
from pathlib import Path
from typing import get_args

import pytest

import ltbench
from ltbench.config.codes import MEANINGS, Code
from ltbench.config.errors import (
    ConfigError,
    Location,
    Problem,
    collect_errors,
    did_you_mean,
    format_path,
    format_value,
    raise_all,
)
from ltbench.data.errors import DataError
from ltbench.runs.errors import RecordError
from tests.support.errors import problems

PACKAGE = Path(ltbench.__file__).parent
DOCS = PACKAGE.parent / "docs" / "errors.md"


def test_a_problem_is_one_line_with_its_location():
    where = ("a.yaml", 12, "variants[2].method", "unknown-method")
    problem = Problem(*where, "message", "suggestion")
    assert str(problem) == "a.yaml:12: variants[2].method: message; suggestion"
    assert problem.described() == f"{problem} [unknown-method]"
    assert str(Problem("--set", None, "", "conflict", "message")) == "--set: message"


def test_an_error_has_all_problems_and_survives_pickling():
    error = ConfigError(
        [Problem("a", 1, "x", "conflict", "one"), Problem("a", 2, "y", "cycle", "two")]
    )
    assert str(error) == "a:1: x: one\na:2: y: two"
    assert error.described() == "a:1: x: one [conflict]\na:2: y: two [cycle]"
    assert isinstance(error, ValueError)
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


@pytest.mark.parametrize("kind", [DataError, RecordError])
def test_an_error_has_a_code_that_survives_pickling(kind):
    error = kind("first line\n  more", "mismatch")
    assert pickle.loads(pickle.dumps(error)).code == "mismatch"
    assert (str(error), error.described()) == (
        "first line\n  more",
        "first line [mismatch]\n  more",
    )
    assert kind("message").code in MEANINGS


def test_errors_that_are_joined_keep_the_code_that_they_share():
    one, same, other = (DataError(*words) for words in (("a", "split"), ("b", "split"), ("c",)))
    both = DataError.joined([one, same, one])
    assert (str(both), both.code) == ("a\nb", "split")
    assert DataError.joined([one, other]).code == "several"


def test_collecting_goes_on_and_raise_all_raises_each_once():
    found = []
    for word in ("a", "b", "a"):
        with collect_errors(found):
            raise Location("f").at(word).error("conflict", "message")
    assert problems(lambda: raise_all(found)) == [("f", "a", "conflict"), ("f", "b", "conflict")]
    raise_all([])


def test_codes_are_declared_once_raised_somewhere_and_listed_in_the_docs():
    assert list(MEANINGS) == sorted(get_args(Code))
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    assert [code for code in MEANINGS if sum(f'"{code}"' in text for text in sources) < 2] == []
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.*) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == list(MEANINGS.items())


@pytest.mark.parametrize(
    ("word", "words", "suggestion"),
    [
        (
            "balanced_sofmax",
            ["softmax", "balanced_softmax", "weighted_softmax"],
            'did you mean "balanced_softmax"?',
        ),
        (
            "cifar_lt",
            ["cifar10_lt", "cifar100_lt", "digits"],
            'did you mean "cifar10_lt" or "cifar100_lt"?',
        ),
        ("ldam", ["claims", "ldam_drw"], 'did you mean "ldam_drw"?'),
        ("softmax", ["Softmax", "Balanced Softmax"], 'did you mean "Softmax"?'),
        ("ent", [f"augmentation {i}" for i in range(20)], None),
        ("zebra", ["b", "a"], "choose from a, b"),
        ("zebra", [f"w{i}" for i in range(100)], None),
        ("zebra", [], None),
    ],
)
def test_did_you_mean(word, words, suggestion):
    assert did_you_mean(word, words) == suggestion


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (1.5, "1.5"),
        ("é", '"é"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("a" * 100, '"' + "a" * 60 + '"...'),
        ([1], "a list"),
        ({}, "a mapping"),
        (10**400, "a huge number"),
    ],
)
def test_values_are_shown_short_and_harmless(value, text):
    assert format_value(value) == text


def test_paths_are_dotted():
    path = ("variants", 2, "hparams", "tau")
    assert format_path(path) == "variants[2].hparams.tau"
    assert format_path(("hparams", "Balanced Softmax", "tau")) == 'hparams["Balanced Softmax"].tau'
    assert format_path(("hparams", "tau-norm")) == "hparams.tau-norm"
    assert format_path(()) == ""
