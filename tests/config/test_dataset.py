"""Datasets: undecodable images, seeds."""

import pytest
from pydantic import ValidationError

from ltbench.config.dataset import DatasetSpec
from ltbench.config.load import load_dataset

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


def test_a_split_seed_is_one_of_numpys_generator():
    digits = load_dataset("digits").model_dump()
    assert DatasetSpec(**digits | {"split_seed": 2**32 - 1}).split_seed == 2**32 - 1
    with pytest.raises(ValidationError):
        DatasetSpec(**digits | {"split_seed": 2**32})
