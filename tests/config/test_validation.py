import pytest

from ltbench.config.dataset import DatasetSpec
from ltbench.config.errors import Location
from ltbench.config.grid import Grid
from ltbench.config.recipe import Pretrained, Recipe
from ltbench.config.validation import validate
from ltbench.config.yaml_file import parse_yaml
from tests.support.errors import problems_of


def problems(model, text, given=None):
    """Return what is wrong with a text: line, path, code, and what is said of it."""
    value, locate = parse_yaml(text, "x.yaml")
    found = problems_of(lambda: validate(model, value, Location("x", locate), given))
    assert {problem.file for problem in found} == {"x"}
    return [(p.line, p.path, p.code, p.suggestion or p.message) for p in found]


GRID = "title: T\ndatasets: [d]\nrecipes: [r]\nvariants: [softmax]\n"
FIELDS = "datasets, findings, headline, recipes, seeds, splits, title, variants"


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "code", "fact"),
    [
        ("title", "titel", 1, "titel", "unknown-key", '"title"'),
        ("title: T", "title: 3", 1, "title", "wrong-type", "text, got 3"),
        ("title: T", "title:", 1, "title", "wrong-type", "text, got nothing"),
        ("[r]", "r", 3, "recipes", "wrong-type", 'a list, got "r"'),
        ("[r]", "[]", 3, "recipes", "out-of-range", "1 or more, got 0"),
        ("[r]", "[r, r]", 3, "recipes", "duplicate", "recipe"),
        ("[r]", "[a/b]", 3, "recipes[0]", "malformed", 'digit first, got "a/b"'),
        ("[r]", f"[{'r' * 81}]", 3, "recipes[0]", "out-of-range", "at most 80"),
        (
            "[d]",
            "[{name: d, imbalance_ratio: 0.5}]",
            2,
            "datasets[0].imbalance_ratio",
            "out-of-range",
            "1, got 0.5",
        ),
        (
            "[d]",
            "[{name: d, imbalance_ratio: [1, x]}]",
            2,
            "datasets[0].imbalance_ratio[1]",
            "wrong-type",
            "number",
        ),
        (
            "[d]",
            "[{name: d, imbalance_ratio: []}]",
            2,
            "datasets[0].imbalance_ratio",
            "out-of-range",
            "got 0",
        ),
        (
            *(
                "[d]",
                "[{name: d, imbalance_type: exp}]",
                2,
                "datasets[0].imbalance_type",
                "unknown-value",
            ),
            '"natural", "exponential", "pareto" or "step", got "exp"',
        ),
        ("[softmax]", "[1]", 4, "variants[0]", "wrong-type", "a mapping, got 1"),
        ("[softmax]", "[{method: m}]", 4, "variants[0].label", "missing-key", ""),
        ("[softmax]", "[{method: m, label: ' m'}]", 4, "variants[0].label", "malformed", "space"),
        (
            *("[softmax]", "[{method: m, label: m, hparams: 3}]", 4, "variants[0].hparams"),
            *("wrong-type", "a mapping, got 3"),
        ),
        (
            "[softmax]",
            "\n  - softmax\n  - label: n\n    method: n\n    init_form: m",
            *(8, "variants[1].init_form", "unknown-key", '"init_from"'),
        ),
        ("title: T", "title: T\nseeds: [true]", 2, "seeds[0]", "wrong-type", "whole number"),
        ("title: T", "title: T\nseeds: [010]", 2, "seeds[0]", "wrong-type", 'got "010"'),
        ("title: T", "title: T\nseeds: [1.5]", 2, "seeds[0]", "wrong-type", "got 1.5"),
        ("title: T", "title: T\nseeds: [-1]", 2, "seeds[0]", "out-of-range", "0, got -1"),
        ("title: T", "title: T\nseeds: [0, 0]", 2, "seeds", "duplicate", "seed"),
        (
            *("title: T", f"title: T\nseeds: [1, {2**63}]", 2, "seeds[1]", "out-of-range"),
            str(2**63 - 1),
        ),
        ("[d]", "[{nam: d}]", 2, "datasets[0].nam", "unknown-key", '"name"'),
        ("title: T", "title: T\nname: t", 2, "name", "unknown-key", FIELDS),
        ("title: T", "title: T\nzzz: t", 2, "zzz", "unknown-key", FIELDS),
    ],
)
def test_each_problem_of_a_grid(old, new, line, path, code, fact):
    found = problems(Grid, GRID.replace(old, new, 1), {"name": "g"})
    (said,) = (said for *problem, said in found if problem == [line, path, code])
    assert fact in said


def test_a_file_whose_name_is_not_allowed_is_to_be_renamed():
    for name, fact in (("a b", "letters, digits"), ("a" * 81, "at most 80")):
        ((_, path, code, said),) = problems(Grid, GRID, {"name": name})
        assert (path, code) == ("", "malformed")
        assert said.startswith("rename the file")
        assert fact in said


def test_a_hash_is_asked_for_in_words():
    ((*problem, said),) = problems(Pretrained, "file: a\nsha256: 0x12", {})
    assert problem == [2, "sha256", "malformed"]
    assert "64 hexadecimal digits" in said


def test_one_mistake_is_one_problem():
    assert (
        len(problems(Grid, GRID.replace("[d]", "[{name: d, imbalance_ratio: [x]}]"), {"name": "g"}))
        == 1
    )


RECIPE = """\
title: R
network: resnet8
batch_size: 0
channels_last: yes
stage1:
  epochs: 10
  optimizer: {lr: 1e-1x, momentum: 1}
  schedule: {kind: polynomial}
stage2:
  epochs: 10
  optimizer: {lr: -1e-3, weigth_decay: 1}
  schedule: {kind: step, milestones: [3, 10]}
"""


def test_all_problems_of_a_file_at_once_in_its_order():
    found = problems(Recipe, RECIPE, {"name": "r"})
    assert [problem[:3] for problem in found] == [
        (3, "batch_size", "out-of-range"),
        (4, "channels_last", "wrong-type"),
        (7, "stage1.optimizer.lr", "wrong-type"),
        (7, "stage1.optimizer.momentum", "out-of-range"),
        (8, "stage1.schedule.kind", "unknown-value"),
        (11, "stage2.optimizer.lr", "out-of-range"),
        (11, "stage2.optimizer.weigth_decay", "unknown-key"),
    ]
    wanted = ("at least 1,", "true or false", "a number", "less than 1,", "cosine", "more than 0,")
    assert all(want in said for want, (*_, said) in zip(wanted, found[:-1], strict=True))


def test_checks_across_fields_name_the_stage():
    text = (
        RECIPE.replace("0\nchannels_last: yes", "1").replace("1e-1x", "0.1").replace(": 1}", ": 0}")
    )
    text = text.replace("polynomial", "constant").replace("-1e-3, weigth", "1e-3, weight")
    ((*problem, said),) = problems(Recipe, text, {"name": "r"})
    assert problem == [8, "stage2", "conflict"]
    assert "[10]" in said


def test_scientific_numbers_and_whole_numbers_are_numbers():
    text = (
        RECIPE.replace("0\nchannels_last: yes", "1")
        .replace("1e-1x", "1e-1")
        .replace(": 1}", ": 0}")
    )
    text = (
        text.replace("polynomial", "constant")
        .replace("-1e-3, weigth", "1, weight")
        .replace("3, 10", "9")
    )
    value, locate = parse_yaml(text, "x.yaml")
    recipe = validate(Recipe, value, Location("x.yaml", locate), {"name": "r"})
    assert (recipe.name, recipe.stage1.optimizer.lr, recipe.stage2.optimizer.lr) == ("r", 0.1, 1.0)
    assert recipe.stage2.schedule.milestones == (9,)


@pytest.mark.parametrize("text", ["3", "[a]", "text", "---"])
def test_a_file_that_is_no_mapping(text):
    assert problems(DatasetSpec, text, {"name": "d"})[0][:3] == (1, "", "wrong-type")
