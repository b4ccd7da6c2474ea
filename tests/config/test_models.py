"""What of a model is part of a key."""

import pytest
from pydantic import Field, ValidationError

from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.models import LATER, NOTE, DatasetSpec, Model, Recipe

BAD = {"on_bad": "skip", "train": 3, "hash": "0" * 64}


class Inner(Model):
    kept: int = 1
    later: str = Field("old", json_schema_extra=LATER)


class Outer(Model):
    note: str = Field("words", json_schema_extra=NOTE)
    inner: Inner = Inner()
    later: int | None = Field(None, json_schema_extra=LATER)


def test_a_note_never_counts():
    assert Outer(note="a").identity() == Outer(note="b").identity()


def test_a_later_field_counts_once_it_differs_from_what_was_done_before():
    assert Outer().identity() == {"inner": {"kept": 1}}
    assert Outer(later=3, inner=Inner(later="new")).identity() == {
        "inner": {"kept": 1, "later": "new"},
        "later": 3,
    }


def test_resized_crops_go_with_a_short_side():
    values = load_recipe("digits").model_dump()
    assert Recipe(**values | {"augment": "resized_crop", "short_side": 256}).short_side == 256
    for wrong, problem in (
        ({"augment": "resized_crop_flip"}, "short_side goes with a resized_crop"),
        ({"short_side": 256}, "short_side goes with a resized_crop"),
        ({"colour_jitter": 0.4}, "are for images with a short_side"),
        ({"jpeg_quality": 90}, "are for images with a short_side"),
    ):
        with pytest.raises(ValidationError, match=problem):
            Recipe(**values | wrong)


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
