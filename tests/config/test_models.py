"""What of a model is part of a key."""

import json

import pytest
from pydantic import Field, ValidationError

from ltbench.config.errors import Location
from ltbench.config.keys import KEY_LENGTH, content_hash
from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.models import (
    LATER,
    NOTE,
    DatasetSpec,
    Job,
    Model,
    Recipe,
    SpecPool,
    StageRecipe,
)
from ltbench.config.validation import validate
from tests.support.errors import problems_of

BAD = {"on_bad": "skip", "train": 3, "hash": "0" * 64}


class Inner(Model):
    kept: int = 1
    later: str = Field("old", json_schema_extra=LATER)


class Outer(Model):
    note: str = Field("words", json_schema_extra=NOTE)
    inner: Inner = Inner()
    later: int | None = Field(None, json_schema_extra=LATER)


def a_job(**changes):
    """Build a job of softmax on CIFAR-10-LT."""
    recipe = load_recipe("cifar_200")
    values = {
        "label": "Softmax",
        "recipe_name": recipe.name,
        "dataset": load_dataset("cifar10"),
        "split": "longtailed",
        "method": "softmax",
        "version": 1,
        "stage": "train",
        "hparams": {"b": [1.0, None], "a": "é"},
        "recipe": recipe,
        "stage_recipe": recipe.stage1,
        "seed": 0,
    }
    return Job(**values | changes)


def test_a_note_never_counts():
    assert Outer(note="a").identity() == Outer(note="b").identity()


def test_a_later_field_counts_once_it_differs_from_what_was_done_before():
    assert Outer().identity() == {"inner": {"kept": 1}}
    assert Outer(later=3, inner=Inner(later="new")).identity() == {
        "inner": {"kept": 1, "later": "new"},
        "later": 3,
    }


@pytest.mark.parametrize("trained", [True, False])
def test_the_key_is_the_content_hash_of_the_settings(trained):
    job = a_job(stage_recipe=load_recipe("cifar_200").stage1 if trained else None, subset="few")
    for each in (job, Job.model_validate_json(job.model_dump_json(), strict=True)):
        assert each.key == content_hash(each.settings())[:KEY_LENGTH]


def test_a_copy_of_a_part_has_its_own_text_in_keys():
    dataset = load_dataset("cifar10")
    before = dataset.key_text
    assert before == a_job(dataset=dataset).dataset.key_text
    for deep in (False, True):
        changed = dataset.model_copy(update={"split_seed": 1}, deep=deep)
        assert changed.key_text == before.replace('"split_seed":0', '"split_seed":1') != before
    assert dataset.key_text == before


def test_a_pool_has_one_object_for_equal_parts_and_validates_others():
    pool, job = SpecPool(), a_job()
    text = job.model_dump_json()

    def read(text, strict=True):
        return Job.model_validate_json(text, strict=strict, context=pool)

    first, second = read(text), read(text.replace('"seed":0', '"seed":1'))
    assert first == job == read(text, strict=False)
    assert first.dataset is second.dataset
    assert first.recipe is second.recipe
    assert first.stage_recipe is second.stage_recipe
    for wrong, path in (
        ('"channels":"3"', ("dataset", "channels")),
        ('"channels":3.5', ("dataset", "channels")),
        ('"channels":3,"other":1', ("dataset", "other")),
    ):
        for _ in range(2):
            with pytest.raises(ValidationError) as caught:
                read(text.replace('"channels":3', wrong))
            assert [error["loc"] for error in caught.value.errors()] == [path]
    assert read(text).dataset is first.dataset


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
    for wrong, field in (
        ({"augment": "resized_crop_flip"}, "resized_crop"),
        ({"resize_shorter_side": 256}, "resized_crop"),
        ({"color_jitter": 0.4}, "color_jitter"),
        ({"jpeg_quality": 90}, "jpeg_quality"),
    ):
        (problem,) = problems_of(lambda w=wrong: validate(Recipe, values | w, Location("x")))
        assert (problem.path, problem.code) == ("", "conflict")
        assert field in problem.message


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": "equal"},
        {"bad_images": BAD | {"train": 0}},
        {"bad_images": BAD | {"test": 1}},
        {"bad_images": BAD | {"hash": "0"}},
    ],
)
def test_bad_images_are_training_images_of_any_size_or_black(changes):
    own = load_dataset("digits").model_dump() | {"source": "image_folder", "sizes": "any"}
    assert DatasetSpec(**own | {"bad_images": BAD}).bad_images.total == 3
    with pytest.raises(ValidationError):
        DatasetSpec(**own | {"bad_images": BAD} | changes)


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
