import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbench.config.load import load_dataset
from ltbench.core.groups import GROUPS
from ltbench.data.errors import DataError
from ltbench.data.images import InMemoryImages
from ltbench.data.imbalance import balanced_counts, exponential_counts
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import make_split, present_groups
from ltbench.data.subsample import split_hash, subsample
from tests.support.errors import raises


@pytest.mark.oracle("cifar_lt_counts", level="case", has=["selected_indices"])
def test_canonical_indices(oracle):
    labels = oracle["targets_all"].numpy()
    indices = subsample(labels, oracle["counts"].tolist(), oracle.hparams["np_random_seed"])
    assert indices.tolist() == oracle["selected_indices"].tolist()
    assert labels[indices].tolist() == oracle["selected_targets"].tolist()
    factor = oracle.hparams["imb_factor"]
    per_class = len(labels) // len(oracle["counts"])
    assert (
        exponential_counts(len(oracle["counts"]), per_class, 1 / factor)
        == oracle["counts"].tolist()
    )


def shuffled_labels(sizes, seed):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(
    sizes=st.lists(st.integers(20, 60), min_size=2, max_size=6),
    ratios=st.tuples(st.floats(1, 9), st.floats(1, 9)),
    seed=st.integers(0, 2**32 - 1),
)
def test_smaller_splits_are_subsets_of_larger_ones(sizes, ratios, seed):
    labels = shuffled_labels(sizes, seed)
    larger, smaller = (
        subsample(labels, exponential_counts(len(sizes), 20, ratio), seed)
        for ratio in sorted(ratios)
    )
    assert set(smaller) <= set(larger)
    assert len(set(larger)) == len(larger)
    assert np.all(np.diff(labels[larger]) >= 0)


@given(ratio=st.floats(1, 20), classes=st.integers(2, 8), seed=st.integers(0, 1000))
def test_the_balanced_split_takes_the_longtailed_images_first(ratio, classes, seed):
    labels = shuffled_labels([40] * classes, seed)
    counts = exponential_counts(classes, 40, ratio)
    longtailed, balanced = (
        subsample(labels, counts, 0),
        subsample(labels, balanced_counts(counts), 0),
    )
    for k in range(classes):
        rare, even = (
            longtailed[labels[longtailed] == k],
            balanced[labels[balanced] == k],
        )
        shared = min(len(rare), len(even))
        assert rare[:shared].tolist() == even[:shared].tolist()
    assert len(set(balanced)) == len(balanced)


def test_another_seed_selects_other_images():
    labels = shuffled_labels([50] * 3, 1)
    assert set(subsample(labels, [9] * 3, 0)) != set(subsample(labels, [9] * 3, 1))


def test_all_classes_with_too_few_images_are_named():
    facts = ("class 2 has no", "class 1 has 1 ", "needs 2", "class 3 would keep none")
    with raises(DataError, "split", *facts) as caught:
        subsample(np.array([0, 0, 1, 3, 3]), [1, 2, 1, 0], 0)
    assert "class 0" not in str(caught.value)


def test_classes_are_named(make_spec):
    named = replace(raw_of([6, 4, 2]), class_names=("cat", "dog", "owl"))
    with raises(DataError, "split", "class owl has 2 ", "needs 4"):
        make_split(make_spec(), named, "balanced")


def test_the_split_hash_is_of_little_endian_int64():
    expected = hashlib.sha256(struct.pack("<3q", 5, 0, 300)).hexdigest()
    assert split_hash(np.array([5, 0, 300])) == expected
    assert split_hash(np.array([5, 0, 300], ">i4")) == expected


def raw_of(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.zeros((len(labels), 3, 8, 8), np.uint8)
    test = np.arange(len(counts))
    names = tuple(map(str, test))
    train, tested = InMemoryImages(images), InMemoryImages(images[: len(test)])
    return RawDataset(train, labels, tested, test, names, "0" * 64)


def test_a_natural_split_has_all_images_and_may_have_no_balanced_one(make_spec):
    raw = raw_of([6, 4, 2])
    split = make_split(make_spec(), raw, "longtailed")
    assert sorted(split.train) == list(range(12))
    assert split.counts == split.longtailed_counts == (6, 4, 2)
    with raises(DataError, "split", "toy has no balanced", "\n  class 2 has 2 "):
        make_split(make_spec(), raw, "balanced")


def test_a_subset_has_the_images_of_its_group(digits):
    raw = load_raw_dataset(digits)
    whole = make_split(digits, raw, "longtailed")
    parts = [make_split(digits, raw, "longtailed", group) for group in GROUPS]
    assert [part.classes for part in parts] == [(0, 1, 2), (3, 4, 5, 6), (7, 8, 9)]
    assert np.concatenate([part.train for part in parts]).tolist() == whole.train.tolist()
    assert parts[2].counts == (0,) * 7 + (11, 8, 6)
    assert parts[2].longtailed_counts == whole.counts
    assert whole.classes == tuple(range(10))
    balanced = make_split(digits, raw, "balanced", "few")  # equal counts, the long-tailed groups
    assert (balanced.classes, balanced.counts) == (
        (7, 8, 9),
        (0,) * 7 + (40,) * 3,
    )


def test_an_empty_group_has_no_split(make_spec):
    with raises(DataError, "split", "toy", "many-shot"):
        make_split(make_spec(), raw_of([6, 4, 2]), "longtailed", "many")


def test_nonempty_groups_follow_from_the_specification_or_the_images(make_spec, root, tmp_path):
    cifar = load_dataset("cifar10")
    assert present_groups(cifar, tmp_path) == set(GROUPS)
    assert present_groups(cifar.model_copy(update={"shot_rule": "shots"})) == {"many", "medium"}
    assert present_groups(make_spec(), root) == {"few"}
    assert present_groups(make_spec(), tmp_path / "nowhere") == set(GROUPS)


def test_the_balanced_split_keeps_the_longtailed_counts_for_groups(make_spec):
    spec = make_spec(imbalance_type="step", imbalance_ratio=5, classes=2)
    split = make_split(spec, raw_of([10, 10]), "balanced")
    assert split.counts == (6, 6)
    assert split.longtailed_counts == (10, 2)
