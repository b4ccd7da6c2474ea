"""Recipes: stages that scale, fields that go together, what is in a key."""

import json

import pytest

from ltbench.config.errors import Location
from ltbench.config.load import load_recipe
from ltbench.config.recipe import Recipe, Schedule, StageRecipe
from ltbench.config.validation import validate
from tests.support.errors import problems, problems_of


def test_a_scaled_stage_moves_its_milestones_along():
    whole = StageRecipe(
        epochs=20,
        optimizer={"lr": 0.4},
        schedule={"kind": "step", "warmup": 4, "milestones": [2, 10, 12, 19]},
        deferred_from_epoch=16,
    )
    assert whole.scaled(1, 1) is whole
    half = whole.scaled(0.5, 0.25)
    assert (half.epochs, half.schedule.warmup, half.deferred_from_epoch) == (10, 2, 8)
    assert half.schedule.milestones == (1, 5, 6, 9)
    assert half.optimizer.lr == pytest.approx(0.1)
    assert StageRecipe(**half.model_dump()) == half
    assert whole.scaled(1.5, 1).schedule.milestones == (3, 15, 18, 28)
    assert whole.scaled(0.1, 1).deferred_from_epoch == 1  # rounded down, as by --set
    one = whole.scaled(0.01, 1)
    assert (one.epochs, one.schedule.warmup, one.schedule.milestones) == (1, 0, ())
    assert StageRecipe(**one.model_dump()) == one


def test_resized_crops_go_with_a_short_side():
    values = load_recipe("digits").model_dump(mode="json")
    assert (
        Recipe(
            **values | {"augment": "resized_crop", "resize_shorter_side": 256}
        ).resize_shorter_side
        == 256
    )
    for wrong, fields in (
        ({"augment": "resized_crop_flip"}, ["augment"]),
        ({"resize_shorter_side": 256}, ["resize_shorter_side"]),
        ({"color_jitter": 0.4, "jpeg_quality": 90}, ["color_jitter", "jpeg_quality"]),
    ):
        found = problems(lambda w=wrong: validate(Recipe, values | w, Location("x")))
        assert found == [("x", field, "conflict") for field in fields]


RESIZED = {"augment": "resized_crop", "resize_shorter_side": 256}


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "resnet20"},
        {"pretrained": {"tag": "tv_in1k"}},
        {"norm": "group"},
        {"batch_size": 64},
        {"precision": "bf16"},
        {"channels_last": False},
        {"compile": "on"},
        {"fold_batchnorm": True},
        {"augment": "resized_crop_flip"},
        {"crop_padding": 2},
        {"policy": {"kind": "randaugment"}},
        {"policy": {"cutout": 4}},
        {"resize_shorter_side": 300},
        {"jpeg_quality": 90},
        {"color_jitter": 0.4},
    ],
    ids=str,
)
def test_what_can_change_a_number_is_part_of_a_recipes_identity(changes):
    values = json.loads(load_recipe("digits").model_dump_json()) | RESIZED
    plain, changed = Recipe(**values), Recipe(**values | changes)
    assert plain != changed
    assert plain.identity() != changed.identity()


def test_the_batch_size_of_the_test_follows_the_device_and_moves_no_key():
    recipe = load_recipe("digits")
    small = recipe.model_copy(update={"eval_batch_size": 100})
    assert (recipe.test_batch_size(on_gpu=False), recipe.test_batch_size(on_gpu=True)) == (125, 500)
    assert small.test_batch_size(on_gpu=False) == small.test_batch_size(on_gpu=True) == 100
    assert small.identity() == recipe.identity()


def test_deferred_switches_turn_on_after_whole_four_fifths_of_the_epochs():
    stage = load_recipe("digits").stage1.model_dump() | {"deferred_from_epoch": None}
    stage["schedule"] = {"kind": "constant"}
    found = {n: StageRecipe(**stage | {"epochs": n}).first_deferred_epoch for n in (200, 7, 5, 1)}
    assert found == {200: 160, 7: 5, 5: 4, 1: 0}
    assert StageRecipe(**stage | {"epochs": 7, "deferred_from_epoch": 6}).first_deferred_epoch == 6


def test_milestones_and_deferral_after_the_last_epoch_are_named_together():
    stage = load_recipe("digits").stage1.model_dump(mode="json") | {
        "epochs": 5,
        "deferred_from_epoch": 6,
    }
    stage["schedule"] = {"kind": "step", "milestones": [2, 7]}
    (problem,) = problems_of(lambda: validate(StageRecipe, stage, Location("x")))
    assert (problem.path, problem.code) == ("", "conflict")
    assert all(fact in problem.message for fact in ("[7]", "(6)"))


def test_milestones_are_in_ascending_order():
    values = {"kind": "step", "milestones": [36, 32, 36]}
    found = problems(lambda: validate(Schedule, values, Location("x")))
    assert found == [("x", "milestones", "conflict")]
    again = values | {"milestones": [2, 2]}  # as of a schedule that is scaled to few epochs
    assert validate(Schedule, again, Location("x")).milestones == (2, 2)


def test_nesterov_needs_momentum():
    values = load_recipe("digits").model_dump(mode="json")
    values["stage1"]["optimizer"] |= {"momentum": 0.0, "nesterov": True}
    (problem,) = problems_of(lambda: validate(Recipe, values, Location("x")))
    assert (problem.path, problem.code) == ("stage1.optimizer.nesterov", "conflict")
