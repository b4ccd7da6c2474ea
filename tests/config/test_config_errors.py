import pickle

import pytest

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


def test_problem_is_one_line():
    problem = Problem("a.yaml", 12, "variants[2].method", 'no method "x"', 'did you mean "y"?')
    assert str(problem) == 'a.yaml:12: variants[2].method: no method "x"; did you mean "y"?'
    assert str(Problem("--set", None, "", "is odd")) == "--set: is odd"


def test_error_lists_all_problems_and_survives_pickling():
    error = ConfigError([Problem("a", 1, "x", "one"), Problem("a", 2, "y", "two")])
    assert str(error) == "a:1: x: one\na:2: y: two"
    assert isinstance(error, ValueError)
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_collecting_goes_on_and_raise_all_raises_each_once():
    problems = []
    for word in ("a", "b", "a"):
        with collect_errors(problems):
            raise Location("f").error(word)
    with pytest.raises(ConfigError, match=r"^f: a\nf: b$"):
        raise_all(problems)
    raise_all([])


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
    path = ("variants", 2, "hyper", "tau")
    assert format_path(path) == "variants[2].hyper.tau"
    assert format_path(("hyper", "Balanced Softmax", "tau")) == 'hyper["Balanced Softmax"].tau'
    assert format_path(("hyper", "tau-norm")) == "hyper.tau-norm"
    assert format_path(()) == ""
