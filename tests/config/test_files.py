"""Files that extend others, and grids that name variant sets."""

from pathlib import Path

import pytest

from ltbench.config.files import find_grid, read_file
from ltbench.config.load import load_dataset, load_grid, load_recipe
from ltbench.config.overrides import parse_overrides
from tests.support.errors import problems, problems_of, suggested
from tests.support.toy_project import GRID

RECIPES = "configs/recipes"
HEAD = GRID[: GRID.index("variants:")]
SET = """\
variants:
  - softmax
  - {label: LDAM, method: ldam_drw, hparams: {deferred: none}}
"""


def test_own_values_are_merged_over_those_of_the_other_file(project):
    project(
        "recipes/longer.yaml",
        """\
        extends: short
        title: Longer
        stage1: {epochs: 40, schedule: {milestones: [30]}}
        """,
    )
    project("recipes/longest.yaml", "extends: longer\nstage1: {epochs: 50}\n")
    short, longer, longest = map(load_recipe, ("short", "longer", "longest"))
    assert (longer.name, longer.title, longest.title) == ("longer", "Longer", "Longer")
    assert longer.stage1.schedule == short.stage1.schedule.model_copy(update={"milestones": (30,)})
    assert longer.stage1.optimizer == short.stage1.optimizer
    assert longer.stage2 == short.stage2
    assert (longest.stage1.epochs, longest.stage1.schedule) == (50, longer.stage1.schedule)


def test_grids_and_datasets_extend_others(project):
    project("datasets/more.yaml", "extends: toys\nimbalance_ratio: 50\n")
    project("grids/more.yaml", "extends: toys\ndatasets: [more]\n")
    assert load_dataset("more").imbalance_ratio == 50
    toys, more = load_grid("toys"), load_grid("more")
    assert more.variants == toys.variants
    assert [choice.name for choice in more.datasets] == ["more"]


def test_a_grid_of_the_working_directory_needs_no_ending(project):
    project("grids/toys.yaml", GRID)
    own = Path("mine.yaml")
    own.write_text(GRID)
    assert find_grid("mine") == find_grid("mine.yaml") == find_grid(own) == own
    Path("toys.yaml").write_text(GRID)
    assert find_grid("toys") != Path("toys.yaml")


def test_each_problem_is_located_in_the_file_that_it_stands_in(project):
    project(
        "recipes/base.yaml",
        """\
        titel: Base
        network: resnet8
        batch_size: 0
        stage1: {epochs: 10, optimizer: {lr: 0.1, momentun: 0.9}, schedule: {kind: constant}}
        stage2: {epochs: 10, optimizer: {lr: 0.1}, schedule: {kind: constant}}
        """,
    )
    project(
        "recipes/own.yaml",
        """\
        extends: base
        precision: half
        stage1: {optimizer: {lr: 0}, deferred_from_epoch: 11}
        """,
    )
    assert sorted(problems(lambda: load_recipe("own"))) == [
        (f"{RECIPES}/base.yaml:1", "titel", "unknown-key"),
        (f"{RECIPES}/base.yaml:3", "batch_size", "out-of-range"),
        (f"{RECIPES}/base.yaml:4", "stage1.optimizer.momentun", "unknown-key"),
        (f"{RECIPES}/own.yaml:1", "title", "missing-key"),
        (f"{RECIPES}/own.yaml:2", "precision", "unknown-value"),
        (f"{RECIPES}/own.yaml:3", "stage1.optimizer.lr", "out-of-range"),
    ]
    project("recipes/late.yaml", "extends: short\nstage1: {deferred_from_epoch: 31}\n")
    assert problems(lambda: load_recipe("late")) == [
        (f"{RECIPES}/late.yaml:2", "stage1", "conflict")
    ]


def test_an_inherited_field_that_is_no_longer_used_is_a_problem(project):
    project("recipes/cosine.yaml", "extends: short\nstage1: {schedule: {kind: cosine}}\n")
    assert problems(lambda: load_recipe("cosine")) == [
        (f"{RECIPES}/short.yaml:7", "stage1.schedule.milestones", "no-effect"),
        (f"{RECIPES}/short.yaml:7", "stage1.schedule.gamma", "no-effect"),
    ]
    for problem in problems_of(lambda: load_recipe("cosine")):
        assert problem.suggestion == "configs/recipes/cosine.yaml extends this file"
    schedule = "{kind: cosine, milestones: [], gamma: 0.1}"
    project("recipes/cosine.yaml", f"extends: short\nstage1: {{schedule: {schedule}}}\n")
    assert load_recipe("cosine").stage1.schedule.milestones == ()
    project("recipes/rand.yaml", "extends: short\npolicy: {kind: randaugment, num_ops: 3}\n")
    project("recipes/auto.yaml", "extends: rand\npolicy: {kind: autoaugment_cifar10}\n")
    assert problems(lambda: load_recipe("auto")) == [
        (f"{RECIPES}/rand.yaml:2", "policy.num_ops", "no-effect")
    ]


def test_a_file_extends_one_that_there_is_and_not_itself(project):
    project("recipes/a.yaml", "extends: b\n")
    project("recipes/b.yaml", "title: B\nextends: c\n")
    project("recipes/c.yaml", "extends: a\n")
    assert problems(lambda: load_recipe("a")) == [(f"{RECIPES}/c.yaml:1", "extends", "cycle")]
    project("recipes/c.yaml", "extends: c\n")
    assert problems(lambda: load_recipe("b")) == [(f"{RECIPES}/c.yaml:1", "extends", "cycle")]
    project("recipes/c.yaml", "extends: shrot\n")
    assert problems(lambda: load_recipe("b")) == [
        (f"{RECIPES}/c.yaml:1", "extends", "unknown-recipe")
    ]
    assert suggested(lambda: load_recipe("b")) == [["short"]]
    project("recipes/c.yaml", "extends: [short]\n")
    assert problems(lambda: load_recipe("c")) == [(f"{RECIPES}/c.yaml:1", "extends", "wrong-type")]


def test_variant_sets_extend_nothing(project, registry):
    project("variants/one.yaml", f"extends: other\n{SET}")
    project("grids/toys.yaml", f"{HEAD}variants: one\n")
    assert problems(lambda: load_grid("toys", registry=registry)) == [
        ("configs/variants/one.yaml:1", "extends", "unknown-key")
    ]


def test_a_file_extends_a_mapping(project):
    project("recipes/own.yaml", "extends: base\ntitle: Own\n")
    project("recipes/base.yaml", "[short]\n")
    assert problems(lambda: load_recipe("own")) == [(f"{RECIPES}/base.yaml:1", "", "wrong-type")]


def test_overrides_win_over_all_files(project):
    project("recipes/own.yaml", "extends: short\nbatch_size: 64\n")
    overrides = parse_overrides(["recipe.batch_size=16", "recipe.stage1.epochs=28"])
    recipe = load_recipe("own", overrides)
    assert (recipe.batch_size, recipe.stage1.epochs) == (16, 28)


@pytest.mark.parametrize(
    ("variants", "labels"),
    [
        ("pair", ["softmax", "LDAM"]),
        ("[crt, {set: pair}]", ["crt", "softmax", "LDAM"]),
        (
            "[{set: pair}, {label: A, method: crt, init_from: LDAM}, {set: other}]",
            ["softmax", "LDAM", "A", "pair"],
        ),
        ("[pair]", ["pair"]),
    ],
)
def test_sets_stand_in_the_place_of_their_variants(project, variants, labels):
    """A bare name in the list is a method, whatever sets there are."""
    project("variants/pair.yaml", SET)
    project("variants/other.yaml", "variants: [{label: pair, method: softmax}]")
    project("grids/toys.yaml", f"{HEAD}variants: {variants}\n")
    assert [variant.label for variant in load_grid("toys").variants] == labels


def test_sets_may_be_inherited_and_named_on_the_command_line(project, registry):
    project("variants/pair.yaml", SET)
    project("grids/toys.yaml", f"{HEAD}variants: pair\n")
    project("grids/more.yaml", "extends: toys\nseeds: [1]\n")
    project("grids/one.yaml", f"{HEAD}variants: [crt]\n")
    toys, more = load_grid("toys"), load_grid("more")
    assert (more.variants, more.seeds) == (toys.variants, (1,))
    overrides = parse_overrides(["grid.variants=pair", "hparams.LDAM.scale=1"])
    (_, ldam) = load_grid("one", overrides, registry).variants
    assert ldam.hparams == {"deferred": "none", "scale": 1}
    wrong = parse_overrides(["grid.variants=[{set: pear}]"])
    assert problems(lambda: load_grid("one", wrong)) == [
        ("--set", "grid.variants[0].set", "unknown-variant-set")
    ]


def test_each_problem_of_a_set_is_located_in_its_file(project, registry):
    project(
        "variants/pair.yaml",
        """\
        variants:
          - sofmax
          - {label: A, method: ldam_drw, hparams: {deferred: no}}
          - {label: B, method: crt, init_form: softmax}
        """,
    )
    project("grids/toys.yaml", f"{HEAD}variants:\n  - {{label: A, method: crtt}}\n  - set: pair\n")
    file = "configs/variants/pair.yaml"
    assert problems(lambda: load_grid("toys", registry=registry)) == [
        ("configs/grids/toys.yaml:5", "variants[0].method", "unknown-method"),
        (f"{file}:4", "variants[2].init_form", "unknown-key"),
    ]
    project(
        "variants/pair.yaml",
        """\
        variants:
          - sofmax
          - {label: B, method: ldam_drw, hparams: {deferred: never}}
          - {label: C, method: crt, init_from: D}
        """,
    )
    assert problems(lambda: load_grid("toys", registry=registry)) == [
        ("configs/grids/toys.yaml:5", "variants[0].method", "unknown-method"),
        (f"{file}:2", "variants[0].method", "unknown-method"),
        (f"{file}:3", "variants[1].hparams.deferred", "unknown-value"),
        (f"{file}:4", "variants[2].init_from", "unknown-variant"),
    ]


def test_what_is_wrong_with_naming_sets_is_named_together(project):
    project("variants/empty.yaml", "variants: []\n")
    project("grids/toys.yaml", f"{HEAD}variants: [{{set: pear}}, {{set: empty, label: A}}]\n")
    assert problems(lambda: load_grid("toys")) == [
        ("configs/grids/toys.yaml:4", "variants[0].set", "unknown-variant-set"),
        ("configs/grids/toys.yaml:4", "variants[1].label", "unknown-key"),
    ]
    project("grids/toys.yaml", f"{HEAD}variants: empty\n")
    assert problems(lambda: load_grid("toys")) == [
        ("configs/variants/empty.yaml:1", "variants", "out-of-range")
    ]


def test_a_lone_method_is_asked_for_in_a_list(project, registry):
    project("grids/toys.yaml", f"{HEAD}variants: softmax\n")
    (problem,) = problems_of(lambda: load_grid("toys", registry=registry))
    assert (problem.line, problem.path, problem.code) == (4, "variants", "unknown-variant-set")
    assert problem.suggestion == "a method is in a list: variants: [softmax]"


def test_an_unknown_set_does_not_hide_other_problems(project, registry):
    project(
        "grids/toys.yaml",
        """\
        title: Toys
        datasets: [toy]
        recipes: [short]
        variants:
          - {set: pear}
          - {label: A, method: ldam_drw, hparams: {betta: 2}}
          - {label: B, method: crt, init_from: of the set}
        """,
    )
    file = "configs/grids/toys.yaml"
    assert problems(lambda: load_grid("toys", registry=registry)) == [
        (f"{file}:2", "datasets[0].name", "unknown-dataset"),
        (f"{file}:5", "variants[0].set", "unknown-variant-set"),
        (f"{file}:6", "variants[1].hparams.betta", "unknown-key"),
    ]


def test_the_same_label_in_two_sets_is_a_duplicate(project):
    project("variants/pair.yaml", SET)
    project("grids/toys.yaml", f"{HEAD}variants: [{{set: pair}}, {{set: pair}}]\n")
    assert problems(lambda: load_grid("toys")) == [
        ("configs/grids/toys.yaml:4", "variants", "duplicate")
    ]


def test_values_are_located_where_they_were_written(project):
    own = project("recipes/own.yaml", "extends: short\nstage1: {epochs: 40}\n")
    values, location = read_file("recipes", own)
    assert "extends" not in values
    found = {
        path: (location.at(*path).file, location.at(*path).problem("conflict", "").line)
        for path in [("stage1", "epochs"), ("stage1", "optimizer", "lr"), ("network",)]
    }
    assert found == {
        ("stage1", "epochs"): (f"{RECIPES}/own.yaml", 2),
        ("stage1", "optimizer", "lr"): (f"{RECIPES}/short.yaml", 6),
        ("network",): (f"{RECIPES}/short.yaml", 2),
    }
