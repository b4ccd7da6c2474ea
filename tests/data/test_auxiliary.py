"""Auxiliary images: which they are, and that no job trains on them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ltbench.config.dataset import Auxiliary
from ltbench.config.load import load_recipe
from ltbench.config.recipe import Policy, Recipe
from ltbench.data.datamodule import DataModule
from ltbench.data.describe import check, describe
from ltbench.data.errors import DataError
from ltbench.data.images import InMemoryImages
from ltbench.data.imbalance import held_out_counts, split_counts
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import check_auxiliary, make_split, require_auxiliary_classes
from ltbench.data.subsample import split_hash
from tests.support.errors import raises
from tests.support.listed_images import resized_recipe

SPLITS = ("longtailed", "balanced")


def with_auxiliary(spec, source, per_class=0, **changes):
    auxiliary = Auxiliary(source=source, per_class=per_class)
    return spec.model_copy(update={"auxiliary": auxiliary, **changes})


def positions(raw, images):
    """Return the positions of unique images in the raw dataset."""
    position_of = {image.tobytes(): k for k, image in enumerate(raw.train_images.pixels)}
    return [position_of[image.tobytes()] for image in images.pixels]


@pytest.fixture
def raw(digits):
    """The digits with images that are all different."""
    raw = load_raw_dataset(digits)
    images = np.arange(len(raw.train_labels), dtype="<u4").view(np.uint8).reshape(-1, 1, 2, 2)
    images = InMemoryImages(images)
    return RawDataset(images, raw.train_labels, images, raw.test_labels, raw.class_names, "")


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_images_are_the_last_of_a_split(digits, raw, split):
    whole, divided = (
        make_split(s, raw, split) for s in (digits, with_auxiliary(digits, "train_holdout", 5))
    )
    held_out = positions(raw, divided.auxiliary.images)
    for k in range(digits.classes):
        kept, mine, ordered = (
            [i for i in part if raw.train_labels[i] == k]
            for part in (divided.train, held_out, whole.train)
        )
        assert kept + mine == ordered
        assert len(mine) == min(5, len(ordered) // 2)
    assert divided.counts == tuple(np.bincount(raw.train_labels[divided.train]))
    assert divided.auxiliary.counts(10) == tuple(np.subtract(whole.counts, divided.counts))
    assert divided.auxiliary_hash == split_hash(np.array(held_out))
    assert divided.train_hash == split_hash(divided.train) != whole.train_hash
    assert divided.longtailed_counts == whole.longtailed_counts
    assert divided.test_hash == whole.test_hash
    assert tuple(split_counts(with_auxiliary(digits, "train_holdout", 5), split)) == divided.counts


@given(counts=st.lists(st.integers(1, 300), min_size=1), per_class=st.integers(1, 100))
def test_a_class_keeps_half_of_its_images_and_its_last_one(counts, per_class):
    spec = SimpleNamespace(auxiliary=Auxiliary(source="train_holdout", per_class=per_class))
    for n, out in zip(counts, held_out_counts(spec, counts), strict=True):
        assert out == min(per_class, n // 2)
        assert n - out >= max(1, n / 2)


def test_unused_images_are_in_neither_split_and_the_same_for_both(digits, raw):
    spec = with_auxiliary(digits, "unused_pool", 4)
    splits = [make_split(spec, raw, split) for split in SPLITS]
    plain = [make_split(digits, raw, split) for split in SPLITS]
    unused = positions(raw, splits[0].auxiliary.images)
    assert splits[0].auxiliary.counts(10) == (4,) * 10
    assert splits[0].auxiliary_hash == splits[1].auxiliary_hash == split_hash(np.array(unused))
    for split, same in zip(splits, plain, strict=True):
        assert split.train.tolist() == same.train.tolist()
        assert split.counts == same.counts
        assert not set(unused) & set(split.train)


def test_a_dataset_without_unused_images_is_rejected(digits, raw):
    largest = int(np.bincount(raw.train_labels)[0])
    facts = ("digits_r20", "unused_pool(4)", f"class 0 has {largest} ", f"needs {largest + 4}")
    with raises(DataError, "split", *facts):
        make_split(
            with_auxiliary(digits, "unused_pool", 4, max_per_class=largest), raw, "longtailed"
        )


def test_classes_of_one_image_have_none_to_hold_out(make_spec):
    images, labels = np.zeros((3, 3, 8, 8), np.uint8), np.arange(3)
    raw = RawDataset(
        InMemoryImages(images), labels, InMemoryImages(images), labels, ("a", "b", "c"), ""
    )
    with raises(DataError, "split", "toy"):
        make_split(with_auxiliary(make_spec(), "train_holdout", 1), raw, "longtailed")


@pytest.fixture
def validated(root):
    """The data root with a validation image for each class of toy."""
    for value, name in enumerate("abc"):
        folder = root / "toy" / "val" / name
        folder.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(folder / "0.png")
    return root


def test_official_validation_images_are_those_of_the_folder(validated, make_spec):
    plain, spec = make_spec(), make_spec(val_folder="val")
    raw = load_raw_dataset(spec, validated)
    assert raw.val_images.pixels.shape == (3, 3, 8, 8)
    assert raw.val_images.pixels[:, 0, 0, 0].tolist() == raw.val_labels.tolist() == [0, 1, 2]
    without = load_raw_dataset(plain, validated)
    assert without.val_images is None
    assert without.fingerprint != raw.fingerprint
    split = make_split(with_auxiliary(spec, "official_val"), raw, "longtailed")
    assert split.auxiliary.counts(3) == (1, 1, 1)
    assert split.counts == (6, 4, 2)
    assert load_raw_dataset(spec, validated).val_labels.tolist() == [0, 1, 2]  # from the cache


def test_validation_and_test_images_are_disjoint(validated, make_spec):
    (validated / "toy" / "alias").symlink_to(validated / "toy" / "test")
    with raises(DataError, "bad-layout", "test/", "alias/"):
        load_raw_dataset(make_spec(val_folder="alias"), validated)


def test_validation_folders_have_the_classes_of_training(validated, make_spec):
    (validated / "toy" / "val" / "c").rename(validated / "toy" / "val" / "d")
    with raises(DataError, "bad-layout", 'class "d" is in val/', 'class "c" is in train/'):
        load_raw_dataset(make_spec(val_folder="val"), validated)


def test_auxiliary_batches_are_ordered_and_not_augmented(digits, make_recipe):
    spec = with_auxiliary(digits, "train_holdout", 5)
    data = DataModule(spec, "longtailed", make_recipe(eval_batch_size=8), seed=0)
    batches = list(data.auxiliary_batches())
    expected = make_split(spec, load_raw_dataset(digits), "longtailed").auxiliary
    assert [len(batch) for batch in batches] == [8] * 5 + [7]
    assert torch.cat([b.labels for b in batches]).tolist() == expected.labels.tolist()
    mean, std = digits.normalization.mean[0], digits.normalization.std[0]
    images = (torch.from_numpy(expected.images.pixels) / 255 - mean) / std
    torch.testing.assert_close(torch.cat([b.images for b in batches]), images)
    assert data.counts.tolist() == [115, 81, 56, 39, 26, 17, 11, 6, 4, 3]


def test_other_jobs_have_no_auxiliary_images(digits, make_recipe):
    data = DataModule(digits, "longtailed", make_recipe(), seed=0)
    assert data.auxiliary is None
    with raises(DataError, "missing-data", "digits_r20"):
        data.auxiliary_batches()


def test_the_report_has_the_auxiliary_images(digits):
    report = check(digits)
    assert "auxiliary images   train_holdout(10), 80 images" in describe(report)
    chosen = check(with_auxiliary(digits, "train_holdout", 2))
    assert chosen.auxiliary == "train_holdout(2), 20 images"
    assert (chosen.counts, chosen.train_hash) == (report.counts, report.train_hash)
    assert "has no unused_pool(99)" in check(with_auxiliary(digits, "unused_pool", 99)).auxiliary


@pytest.fixture
def make_data(digits, make_recipe):
    def make(source="train_holdout", per_class=5, raw=None, subset="all", **changes):
        spec = with_auxiliary(digits, source, per_class)
        how = make_recipe(**changes)
        data = DataModule(spec, "longtailed", how, seed=0, raw=raw, subset=subset)
        data.has_auxiliary_stream = True
        return data

    return make


def both(data, epoch=0, first=0):
    """Return an epoch's training and auxiliary batches."""
    steps = list(data.epoch(epoch, first))
    assert all(list(step) == ["instance", "auxiliary"] for step in steps)
    return [step["instance"] for step in steps], [step["auxiliary"] for step in steps]


def equal(ours, theirs):
    return all(
        a.images.equal(b.images) and a.labels.equal(b.labels) and a.index.equal(b.index)
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("source", ["train_holdout", "unused_pool"])
def test_each_step_has_as_many_auxiliary_images_of_every_class(make_data, source):
    data = make_data(source, batch_size=20, augment="none")
    images = torch.cat([batch.images for batch in data.auxiliary_batches()])
    _, batches = both(data)
    for batch in batches:
        assert torch.bincount(batch.labels).tolist() == [2] * 10
        assert batch.images.equal(images[batch.index])
        assert batch.labels.equal(torch.from_numpy(data.auxiliary.labels)[batch.index])
    used = torch.bincount(torch.cat([batch.index for batch in batches]))
    assert (len(used), used.min() > 0) == (len(images), True)


def test_the_training_images_of_a_step_stay_the_same(make_data):
    data = make_data(policy=Policy(kind="randaugment"))
    training, auxiliary = both(data)
    data.has_auxiliary_stream = False
    assert equal(training, data.epoch(0))
    assert not auxiliary[0].index.equal(both(make_data(), 1)[1][0].index)


def test_auxiliary_images_are_augmented_as_training_images(make_data, digits):
    """White images differ only by the black border of their crops."""
    raw = load_raw_dataset(digits)
    white = InMemoryImages(np.full_like(raw.train_images.pixels, 255))
    data = make_data(raw=replace(raw, train_images=white))
    for stream in both(data):
        assert {len(batch.images.unique()) for batch in stream} == {2}
    assert {len(batch.images.unique()) for batch in data.auxiliary_batches()} == {1}


@pytest.mark.parametrize("first", [1, 7])
def test_a_resumed_epoch_has_the_rest_of_its_auxiliary_images(make_data, first):
    data = make_data(policy=Policy(kind="randaugment"))
    for rest, whole in zip(both(data, 1, first), both(data, 1), strict=True):
        assert equal(rest, whole[first:])


def test_ranks_see_columns_of_one_auxiliary_batch(make_data, monkeypatch):
    whole = both(make_data())[1][0]
    monkeypatch.setattr("ltbench.data.augmented_view.world_size", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr("ltbench.data.augmented_view.rank", lambda rank=rank: rank)
        parts.append(both(make_data())[1][0])
    for name in ("images", "labels", "index"):
        assert torch.cat([getattr(part, name) for part in parts]).equal(getattr(whole, name))


def test_a_subset_has_auxiliary_images_of_its_classes(make_data):
    data = make_data(subset="few", batch_size=9)
    _, batches = both(data)
    assert [torch.bincount(batch.labels).tolist() for batch in batches] == [[3] * 3] * len(batches)
    own = data.auxiliary.labels[np.isin(data.auxiliary.labels, data.classes)]
    for batch in batches:
        assert own[batch.index].tolist() == data.classes[batch.labels].tolist()


def test_cached_features_of_auxiliary_images(make_data):
    data = make_data()
    images = torch.cat([batch.images for batch in data.auxiliary_batches()])
    data.cache_features(lambda images: images.flatten(1)[:, :3])
    training, auxiliary = both(data)
    assert training[0].images.shape == (32, 3)
    assert auxiliary[0].images.equal(images.flatten(1)[auxiliary[0].index, :3])


def test_auxiliary_images_in_files(listed):
    spec, raw = listed
    recipe = Recipe(**load_recipe("digits").model_dump() | resized_recipe())
    spec = with_auxiliary(spec, "official_val")
    raw = replace(raw, val_images=raw.test_images, val_labels=raw.test_labels)
    data = DataModule(spec, "longtailed", recipe, seed=0, raw=raw)
    data.has_auxiliary_stream = True
    _, batches = both(data)
    assert [tuple(batch.images.shape) for batch in batches] == [(4, 3, 8, 8)] * len(batches)
    assert equal(both(data, first=1)[1], batches[1:])
    assert set(torch.cat([batch.labels for batch in batches]).tolist()) == {0, 1, 2}


def test_a_class_without_auxiliary_images_is_refused(digits, make_data, make_recipe):
    single = with_auxiliary(digits, "train_holdout", 10, imbalance_ratio=120.0, max_per_class=120)
    for refused in (
        lambda: check_auxiliary(single, "longtailed"),
        lambda: require_auxiliary_classes(single, "longtailed", [10] * 9 + [0]),
    ):
        with raises(DataError, "split", "digits_r120", "train_holdout(10)", "9"):
            refused()
    data = DataModule(single, "longtailed", make_recipe(), seed=0)
    data.has_auxiliary_stream = True
    with raises(DataError, "split", "train_holdout(10)"):
        next(data.epoch(0))
    check_auxiliary(single, "balanced")
    check_auxiliary(with_auxiliary(digits, "unused_pool", 5), "longtailed")
    with raises(DataError, "split", "unused_pool(999)"):
        check_auxiliary(with_auxiliary(digits, "unused_pool", 999), "longtailed")


@pytest.mark.parametrize("source", ["train_holdout", "unused_pool"])
def test_jobs_may_be_tested_on_auxiliary_images(digits, raw, source):
    spec = with_auxiliary(digits, source, 5, tested_on="auxiliary")
    made = make_split(spec, raw, "longtailed")
    assert made.test is made.auxiliary
    assert made.test_hash == split_hash(made.auxiliary.labels)
    assert not set(positions(raw, made.test.images)) & set(made.train.tolist())


def test_the_data_module_tests_on_them(digits):
    spec = with_auxiliary(digits, "train_holdout", 5, tested_on="auxiliary")
    data = DataModule(spec, "longtailed", load_recipe("digits"), seed=0)
    assert data.test_labels.tolist() == data.auxiliary.labels.tolist()
    assert torch.cat([batch.labels for batch in data.test_dataloader()]).equal(data.test_labels)
