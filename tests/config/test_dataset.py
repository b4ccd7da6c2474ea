"""Datasets: undecodable images, seeds."""

import pytest
from pydantic import ValidationError

from ltbench.config.dataset import DatasetSpec
from ltbench.config.errors import Location
from ltbench.config.load import load_dataset
from ltbench.config.validation import validate
from tests.support.errors import problems

BAD = {"on_bad": "skip", "train": 3, "hash": "0" * 64}


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
    changed = {"source": "image_folder", "sizes": "any", "test_per_class": None}
    own = load_dataset("digits").model_dump() | changed
    assert DatasetSpec(**own | {"bad_images": BAD}).bad_images.total == 3
    with pytest.raises(ValidationError):
        DatasetSpec(**own | {"bad_images": BAD} | changes)


@pytest.mark.parametrize("changes", [{"test_per_class": None}, {"source": "image_folder"}])
def test_digits_alone_have_test_images_per_class(changes):
    with pytest.raises(ValidationError):
        DatasetSpec(**load_dataset("digits").model_dump() | changes)


def test_all_that_does_not_go_together_is_named_with_its_field():
    values = load_dataset("digits").model_dump(mode="json")
    values |= {
        "source": "image_folder",
        "test_per_class": None,
        "train_list": "split.csv",
        "channels": 3,
    }
    values |= {"imbalance_type": "natural", "imbalance_ratio": 2, "max_per_class": 9}
    assert problems(lambda: validate(DatasetSpec, values, Location("x"))) == [
        ("x", "train_list", "conflict"),
        ("x", "normalization", "conflict"),
        ("x", "imbalance_ratio", "conflict"),
        ("x", "max_per_class", "no-effect"),
    ]


@pytest.mark.parametrize("field", ["train_folder", "test_folder", "val_folder"])
def test_folders_have_no_effect_without_a_source_of_folders(field):
    values = load_dataset("digits").model_dump(mode="json") | {field: "images"}
    found = problems(lambda: validate(DatasetSpec, values, Location("x")))
    assert found == [("x", field, "no-effect")]
    validate(
        DatasetSpec, values | {"source": "image_folder", "test_per_class": None}, Location("x")
    )


def test_a_split_seed_is_one_of_numpys_generator():
    digits = load_dataset("digits").model_dump()
    assert DatasetSpec(**digits | {"split_seed": 2**32 - 1}).split_seed == 2**32 - 1
    with pytest.raises(ValidationError):
        DatasetSpec(**digits | {"split_seed": 2**32})
