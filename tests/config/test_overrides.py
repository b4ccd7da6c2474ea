from dataclasses import dataclass

import pytest
from pydantic import ValidationError

from ltbench.config.dataset import DatasetSpec
from ltbench.config.errors import COMMAND_LINE
from ltbench.config.grid import DatasetChoice, Variant
from ltbench.config.load import expand_dataset, load_dataset, load_grid, load_recipe
from ltbench.config.overrides import RowFilter, apply_overrides, parse_only, parse_overrides
from ltbench.config.recipe import Recipe, StageRecipe
from tests.support.errors import problems, problems_of, suggested


def test_recipe_fields(project):
    overrides = parse_overrides(
        [
            "recipe.stage1.optimizer.lr=5e-2",
            "recipe.precision=bf16",
            "recipe.stage1.schedule.milestones=[3, 4]",
        ]
    )
    recipe = load_recipe("short", overrides)
    assert recipe.stage1.optimizer.lr == 0.05
    assert recipe.stage1.optimizer.weight_decay == 2e-4
    assert recipe.precision == "bf16"
    assert recipe.stage1.schedule.milestones == (3, 4)
    assert load_recipe("short").precision == "fp32"


LONG = {
    "epochs": 200,
    "optimizer": {"lr": 0.1},
    "schedule": {"kind": "step", "warmup": 5, "milestones": [160, 180]},
    "deferred_from_epoch": 160,
}


@pytest.mark.parametrize(
    ("epochs", "warmup", "milestones", "deferred"),
    [(100, 2, (80, 90), 80), (40, 1, (32, 36), 32), (3, 0, (2, 2), 2), (1, 0, (), 0)],
)
def test_a_schedule_is_scaled_to_other_epochs(epochs, warmup, milestones, deferred):
    (override,) = parse_overrides([f"recipe.stage1.scaled_epochs={epochs}"])
    stage = StageRecipe(**apply_overrides({"stage1": LONG}, [override], COMMAND_LINE)["stage1"])
    assert stage.epochs == epochs
    assert stage.schedule.warmup == warmup
    assert stage.schedule.milestones == milestones
    assert stage.deferred_from_epoch == deferred
    assert LONG["epochs"] == 200


def test_a_stage_names_all_that_its_epochs_do_not_fit():
    with pytest.raises(ValidationError) as caught:
        StageRecipe(**LONG | {"epochs": 3})
    (error,) = caught.value.errors()
    assert all(name in error["msg"] for name in ("warmup (5)", "[160, 180]", "(160)"))
    StageRecipe(epochs=3, optimizer={"lr": 1}, schedule={"kind": "cosine", "warmup": 3})
    with pytest.raises(ValidationError):
        StageRecipe(epochs=3, optimizer={"lr": 1}, schedule={"kind": "cosine", "warmup": 4})


def test_epochs_that_do_not_fit_come_with_what_scales_them(project, registry):
    def refused(text):
        (problem,) = problems_of(lambda: load_grid("toys", parse_overrides([text]), registry))
        return problem.path, problem.code, "scaled_epochs" in (problem.suggestion or "")

    assert refused("recipe.stage1.epochs=5") == ("recipe.stage1", "conflict", True)
    assert refused("recipe.stage1.schedule.warmup=99") == ("recipe.stage1", "conflict", True)
    assert refused("recipe.stage1.scaled_epochs=x") == ("recipe.stage1.epochs", "wrong-type", False)
    assert refused("recipe.stage1.scaled_epochs=0")[1] == "out-of-range"
    assert refused("recipe.scaled_epochs=3") == ("recipe.scaled_epochs", "unknown-key", False)
    assert refused("recipe.stage3.scaled_epochs=3")[1] == "unknown-key"


def test_dataset_fields_win_over_the_grid(project):
    overrides = parse_overrides(["dataset.imbalance_ratio=5", "dataset.max_per_class=50"])
    assert load_dataset("toys", overrides).max_per_class == 50
    specs = expand_dataset(DatasetChoice(name="toys", imbalance_ratio=(100, 10)), overrides)
    assert [spec.id for spec in specs] == ["toys_r5"]


def test_grid_fields_and_hyper_parameters(project, registry):
    texts = [
        "grid.seeds=[3, 4]",
        "grid.title=A = B",
        "hparams.LDAM.scale=10",
        "hparams.LDAM-DRW.deferred=drs",
    ]
    grid = load_grid("toys", parse_overrides(texts), registry)
    assert grid.seeds == (3, 4)
    assert grid.title == "A = B"
    assert [v.hparams for v in grid.variants] == [
        {},
        {"deferred": "none", "scale": 10},
        {"deferred": "drs"},
    ]
    by_method = load_grid("toys", parse_overrides(["hparams.ldam_drw.scale=1"]), registry)
    assert [v.hparams for v in by_method.variants] == [
        {},
        {"deferred": "none", "scale": 1},
        {"scale": 1},
    ]
    assert load_grid("toys").seeds == (0,)


def test_a_label_may_hold_dots_and_spaces():
    (override,) = parse_overrides(["hparams.ResNet v1.5 [a].tau=null"])
    assert override.path == ("ResNet v1.5 [a]", "tau")
    assert override.value is None
    assert override.text == "hparams.ResNet v1.5 [a].tau=null"


def test_a_field_is_set_once():
    texts = ["recipe.batch_size=64", "hparams.A.B.tau=1", "recipe.batch_size=32", "hparams.A.tau=1"]
    found = problems(lambda: parse_overrides(texts))
    assert found == [("--set", "recipe.batch_size", "duplicate")]


def test_every_option_without_meaning_is_named():
    texts = [
        "recpie.batch_size=1",
        "batch_size=1",
        "recipe=1",
        "recipe.stage1..lr=1",
        "hparams.tau=1",
        "recipe.batch_size",
        "recipe.batch_size=",
        "recipe.batch_size=[1",
        "recipe.batch_size={a: 1, a: 2}",
    ]
    assert [(path, code) for _, path, code in problems(lambda: parse_overrides(texts))] == [
        ("", "unknown-key"),
        ("", "unknown-key"),
        ("", "malformed"),
        ("", "malformed"),
        ("", "malformed"),
        ("recipe.batch_size", "malformed"),
        ("recipe.batch_size", "invalid-yaml"),
        ("recipe.batch_size", "invalid-yaml"),
        ("recipe.batch_size", "duplicate"),
    ]
    near, none_near, *_ = suggested(lambda: parse_overrides(texts))
    assert near == ["recipe"]
    assert none_near == ["dataset", "grid", "hparams", "recipe"]


def test_values_go_through_the_same_models(project, registry):
    def grid(*texts):
        return problems(lambda: load_grid("toys", parse_overrides(texts), registry))

    assert grid("recipe.stage1.epoch=5", "recipe.precision=half") == [
        ("--set", "recipe.precision", "unknown-value"),
        ("--set", "recipe.stage1.epoch", "unknown-key"),
    ]
    assert grid("recipe.stage1.epochs=5") == [("--set", "recipe.stage1", "conflict")]
    assert grid("recipe.batch_size.size=5") == [("--set", "recipe.batch_size", "wrong-type")]
    assert grid("dataset.imbalance_type=natural") == [
        ("--set", "dataset.imbalance_ratio", "conflict")
    ]
    assert grid("grid.seeds=[x]", "grid.recipes=[long]") == [
        ("--set", "grid.recipes[0]", "unknown-recipe"),
        ("--set", "grid.seeds[0]", "wrong-type"),
    ]
    assert grid("grid.title.x=1", "recipe.batch_size=0", "hparams.LDAM.scale=x") == [
        ("--set", "grid.title", "wrong-type"),
        ("--set", "hparams.LDAM.scale", "wrong-type"),
    ]
    assert grid("hparams.LDAN.scale=1", "hparams.LDAM.scale=0", "hparams.LDAM.tau=1") == [
        ("--set", "hparams.LDAN.scale", "unknown-variant"),
        ("--set", "hparams.LDAM.scale", "out-of-range"),
        ("--set", "hparams.LDAM.tau", "unknown-key"),
    ]


@dataclass(frozen=True)
class Row:
    dataset: DatasetSpec
    recipe: Recipe
    split: str
    seed: int
    variant: Variant


@pytest.fixture
def rows(project):
    grid = load_grid("toys")
    datasets = expand_dataset(DatasetChoice(name="toys", imbalance_ratio=(20, 10)))
    return [
        Row(dataset, load_recipe("short"), split, seed, variant)
        for dataset in datasets
        for split in ("longtailed", "balanced")
        for seed in (0, 1)
        for variant in grid.variants
    ]


def test_only_keeps_what_is_wanted_in_every_field(rows):
    assert all(RowFilter().matches(row) for row in rows)
    only = parse_only(["variant=LDAM, softmax", "seed=0", "split=balanced"])
    kept = [row for row in rows if only.matches(row)]
    assert [(row.dataset.id, row.variant.label) for row in kept] == [
        ("toys_r20", "softmax"),
        ("toys_r20", "LDAM"),
        ("toys_r10", "softmax"),
        ("toys_r10", "LDAM"),
    ]
    assert {(row.split, row.seed) for row in kept} == {("balanced", 0)}
    only.check(rows)


def test_only_knows_methods_and_ids(rows):
    labels = {row.variant.label for row in rows if parse_only(["variant=ldam_drw"]).matches(row)}
    assert labels == {"LDAM", "LDAM-DRW"}
    ids = {row.dataset.id for row in rows if parse_only(["dataset=toys_r10"]).matches(row)}
    assert ids == {"toys_r10"}
    assert parse_only(["seed=0", "seed=1"]).seed == ("0", "1")
    assert parse_only(['variant="A, 1", B,seed=0']).variant == ("A, 1", "B")
    assert parse_only(["variant=A,B, seed=0,1"]) == RowFilter(variant=("A", "B"), seed=("0", "1"))


def test_only_names_unknown_fields_and_values(rows):
    wrong = ["varaint=a", "seed=", "seed"]
    assert problems(lambda: parse_only(wrong)) == [
        ("--only", "", "unknown-key"),
        ("--only", "seed", "malformed"),
    ]
    assert suggested(lambda: parse_only(wrong)) == [["variant"], []]
    only = parse_only(["variant=LDAM-DWR", "seed=0,7", "recipe=short"])
    assert problems(lambda: only.check(rows)) == [
        ("--only", "variant", "unknown-value"),
        ("--only", "seed", "unknown-value"),
    ]
    assert suggested(lambda: only.check(rows)) == [["LDAM-DRW"], ["0", "1"]]
    only = parse_only(["variant=ldam-drw,SOFTMAX"])
    assert suggested(lambda: only.check(rows)) == [["LDAM-DRW"], ["softmax"]]
