import pytest

from ltbench.config.errors import ConfigError, Location
from ltbench.config.models import DatasetSpec, Grid, Recipe
from ltbench.config.validation import validate
from ltbench.config.yaml_file import parse_yaml


def problems(model, text, given=None):
    value, locate = parse_yaml(text, "x.yaml")
    with pytest.raises(ConfigError) as error:
        validate(model, value, Location("x", locate), given)
    return str(error.value).splitlines()


GRID = "title: T\ndatasets: [d]\nrecipes: [r]\nvariants: [softmax]\n"
FIELDS = "datasets, recipes, seeds, splits, title, variants"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title", "titel", 'x:1: titel: unknown key; did you mean "title"?'),
        ("title: T", "title: 3", "x:1: title: expected text, got 3"),
        ("title: T", "title:", "x:1: title: expected text, got nothing"),
        ("[r]", "r", 'x:3: recipes: expected a list, got "r"'),
        ("[r]", "[]", "x:3: recipes: needs 1 or more, got 0"),
        ("[r]", "[r, r]", "x:1: recipe given twice: r"),
        (
            "[r]",
            "[a/b]",
            'x:3: recipes[0]: expected text of the form ^[A-Za-z0-9][A-Za-z0-9_.+-]*$, got "a/b"',
        ),
        (
            "[r]",
            f"[{'r' * 81}]",
            f'x:3: recipes[0]: expected text of at most 80 characters, got "{"r" * 60}"...',
        ),
        (
            "[d]",
            "[{name: d, ratio: 0.5}]",
            "x:2: datasets[0].ratio: expected at least 1, got 0.5",
        ),
        (
            "[d]",
            "[{name: d, ratio: [1, x]}]",
            'x:2: datasets[0].ratio[1]: expected a number, got "x"',
        ),
        (
            "[d]",
            "[{name: d, ratio: []}]",
            "x:2: datasets[0].ratio: needs 1 or more, got 0",
        ),
        (
            "[d]",
            "[{name: d, profile: exp}]",
            (
                "x:2: datasets[0].profile: "
                'expected "natural", "exponential", "pareto" or "step", got "exp"'
            ),
        ),
        ("[softmax]", "[1]", "x:4: variants[0]: expected a mapping, got 1"),
        ("[softmax]", "[{method: m}]", "x:4: variants[0].label: is missing"),
        (
            "[softmax]",
            "[{method: m, label: ' m'}]",
            "x:4: variants[0].label: a label is printable text without space around it",
        ),
        (
            "[softmax]",
            "[{method: m, label: m, hyper: 3}]",
            "x:4: variants[0].hyper: expected a mapping, got 3",
        ),
        (
            "[softmax]",
            "\n  - softmax\n  - label: n\n    method: n\n    start_form: m",
            'x:8: variants[1].start_form: unknown key; did you mean "start_from"?',
        ),
        ("title: T", "title: T\nseeds: [true]", "x:2: seeds[0]: expected a whole number, got true"),
        ("title: T", "title: T\nseeds: [010]", 'x:2: seeds[0]: expected a whole number, got "010"'),
        ("title: T", "title: T\nseeds: [1.5]", "x:2: seeds[0]: expected a whole number, got 1.5"),
        ("title: T", "title: T\nseeds: [-1]", "x:2: seeds[0]: expected at least 0, got -1"),
        ("title: T", "title: T\nseeds: [0, 0]", "x:1: seed given twice: 0"),
        ("[d]", "[{nam: d}]", 'x:2: datasets[0].nam: unknown key; did you mean "name"?'),
        ("title: T", "title: T\nname: t", f"x:2: name: unknown key; choose from {FIELDS}"),
        ("title: T", "title: T\nzzz: t", f"x:2: zzz: unknown key; choose from {FIELDS}"),
    ],
)
def test_each_problem_of_a_grid_in_our_words(old, new, message):
    assert message in problems(Grid, GRID.replace(old, new, 1), {"name": "g"})


def test_one_mistake_is_one_problem():
    assert len(problems(Grid, GRID.replace("[d]", "[{name: d, ratio: [x]}]"), {"name": "g"})) == 1


RECIPE = """\
title: R
network: resnet8
batch: 0
channels_last: yes
first:
  epochs: 10
  optimizer: {lr: 1e-1x, momentum: 1}
  schedule: {kind: linear}
second:
  epochs: 10
  optimizer: {lr: -1e-3, weigth_decay: 1}
  schedule: {kind: step, milestones: [10, 3]}
"""


def test_all_problems_of_a_file_at_once_in_its_order():
    assert problems(Recipe, RECIPE, {"name": "r"}) == [
        "x:3: batch: expected at least 1, got 0",
        'x:4: channels_last: expected true or false, got "yes"',
        'x:7: first.optimizer.lr: expected a number, got "1e-1x"',
        "x:7: first.optimizer.momentum: expected less than 1, got 1",
        'x:8: first.schedule.kind: expected "constant", "step" or "cosine", got "linear"',
        "x:11: second.optimizer.lr: expected more than 0, got -0.001",
        'x:11: second.optimizer.weigth_decay: unknown key; did you mean "weight_decay"?',
    ]


def test_checks_across_fields_name_the_stage():
    text = (
        RECIPE.replace("0\nchannels_last: yes", "1").replace("1e-1x", "0.1").replace(": 1}", ": 0}")
    )
    text = text.replace("linear", "constant").replace("-1e-3, weigth", "1e-3, weight")
    assert problems(Recipe, text, {"name": "r"}) == [
        "x:8: second: milestones [10] are not before the last of 10 epochs"
    ]


def test_scientific_numbers_and_whole_numbers_are_numbers():
    text = (
        RECIPE.replace("0\nchannels_last: yes", "1")
        .replace("1e-1x", "1e-1")
        .replace(": 1}", ": 0}")
    )
    text = (
        text.replace("linear", "constant")
        .replace("-1e-3, weigth", "1, weight")
        .replace("10, 3", "9")
    )
    value, locate = parse_yaml(text, "x.yaml")
    recipe = validate(Recipe, value, Location("x.yaml", locate), {"name": "r"})
    assert (recipe.name, recipe.first.optimizer.lr, recipe.second.optimizer.lr) == ("r", 0.1, 1.0)
    assert recipe.second.schedule.milestones == (9,)


@pytest.mark.parametrize("text", ["3", "[a]", "text", "---"])
def test_a_file_that_is_no_mapping(text):
    assert problems(DatasetSpec, text, {"name": "d"})[0].startswith("x:1: expected a mapping, got ")
