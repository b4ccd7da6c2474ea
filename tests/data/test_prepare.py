import hashlib
import json
import re

import pytest

from ltbench.data.describe import check, describe, describe_preparation
from ltbench.data.errors import DataError
from ltbench.data.official_lists import canonical_text, pinned_fingerprint
from ltbench.data.prepare import open_prepared, prepare
from ltbench.data.sources import load_raw_dataset, measure_fingerprint
from ltbench.data.split import make_split
from tests.support.errors import raises
from tests.support.listed_images import (
    CLASSES,
    TRAIN_FORMATS,
    images,
    listed_spec,
    write_images,
    write_lists,
)


@pytest.fixture
def root(tmp_path):
    """A folder with official lists, images and a data root."""
    write_lists(tmp_path / "official_lists", listed_spec())
    write_images(tmp_path / "images")
    return tmp_path


def prepared(root, spec=None):
    spec = spec or listed_spec()
    return prepare(spec, root / "images", root / "official_lists", root / "data" / spec.name)


def test_a_prepared_dataset_is_a_raw_dataset(root):
    spec = listed_spec()
    report = prepared(root)
    assert report.paths == {"train": "train/{class}/{name}", "test": "val/{class}/{name}"}
    assert report.images == {"train": 9, "val": 3, "test": 6, "balanced": 9}
    raw = load_raw_dataset(
        spec.model_copy(update={"fingerprint": report.fingerprint}), root / "data"
    )
    assert raw.fingerprint == pinned_fingerprint(spec.official_lists)
    assert raw.class_names == CLASSES
    for files, labels in (
        (raw.train_images, raw.train_labels),
        (raw.test_images, raw.test_labels),
    ):
        assert len(files.paths) == len(labels)
        assert all((files.root / path).is_file() for path in files.paths)
    split = make_split(spec, raw, "longtailed")
    assert split.train.tolist() == list(range(9))
    assert split.counts == split.longtailed_counts == (6, 2, 1)
    official = canonical_text(images("train"), TRAIN_FORMATS[0])
    assert split.train_hash == hashlib.sha256(official.encode()).hexdigest()


def test_the_balanced_split_follows_its_rule(root):
    spec = listed_spec()
    prepared(root)
    raw = load_raw_dataset(spec, root / "data")
    balanced = make_split(spec, raw, "balanced")
    assert balanced.counts == (3, 3, 3)
    assert balanced.longtailed_counts == (6, 2, 1)
    chosen = [raw.train_images.paths[i] for i in balanced.train]
    by_class = [chosen[3 * k : 3 * k + 3] for k in range(3)]
    assert [CLASSES.index(path.split("/")[1]) for path in chosen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert raw.train_labels[balanced.train].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    listed = {f"train/{i.folder}/{i.name}" for i in images("train")}
    assert [len(listed.intersection(paths)) for paths in by_class] == [3, 2, 1]
    assert len(set(chosen)) == 9
    assert not {f"train/{i.folder}/{i.name}" for i in images("val")} & set(chosen)


def test_the_balanced_split_does_not_depend_on_paths(root, tmp_path):
    spec = listed_spec()
    prepared(root)
    other = tmp_path / "other"
    write_lists(other / "official_lists", spec, which=1)
    write_images(other / "images", which=1)
    report = prepared(other)
    assert report.paths == {"train": "data/{initial}/{nested}/{name}", "test": "val/{name}"}
    here, there = (load_raw_dataset(spec, p / "data") for p in (root, other))
    for split in ("longtailed", "balanced"):
        a, b = (make_split(spec, raw, split) for raw in (here, there))
        assert (a.train_hash, a.test_hash) == (b.train_hash, b.test_hash)
        assert a.train.tolist() == b.train.tolist()
    assert here.fingerprint == there.fingerprint
    assert here.train_images.paths[6] == "train/n02-outdoor/0.jpg"
    assert there.train_images.paths[6] == "data/n/n02/outdoor/0.jpg"


def test_the_seed_changes_the_balanced_split(root):
    def chosen(seed):
        spec = listed_spec(split_seed=seed)
        prepared(root, spec)
        return make_split(spec, load_raw_dataset(spec, root / "data"), "balanced").train_hash

    assert chosen(2020) == chosen(2020)
    assert len({chosen(seed) for seed in range(4)}) == 4


def test_missing_images_are_named_with_their_archive(root):
    for i in range(6):
        (root / f"images/train/n01/{i}.jpg").unlink()
    (root / "images/val/n03/104.jpg").unlink()
    train = ("6 of 12 train images", "train.tar", "train/n01/0.jpg", "and 1 more")
    with raises(DataError, "missing-data", *train, "1 of 6 test images", "val.tar"):
        prepared(root)
    assert not (root / "data" / "toy_lt").exists()


def test_errors_of_lists_and_root_are_reported_together(root):
    (root / "official_lists/train_list.txt").unlink()
    with raises(DataError, "several", root / "nowhere", "train_list.txt"):
        prepare(listed_spec(), root / "nowhere", root / "official_lists", root / "data")


def test_an_incomplete_training_set_has_no_balanced_split(root):
    spec = listed_spec()
    (root / "images/train/n01/6.jpg").unlink()  # in no list
    report = prepared(root)
    assert re.findall(r"\d+", report.no_balanced_counterpart) == ["24", "23"]
    assert report.no_balanced_counterpart in describe_preparation(report)
    raw = load_raw_dataset(spec, root / "data")
    assert make_split(spec, raw, "longtailed").counts == (6, 2, 1)
    with raises(
        DataError, "split", "toy_lt", "balanced counterpart", report.no_balanced_counterpart
    ):
        make_split(spec, raw, "balanced")


def test_a_dataset_may_give_the_reason_for_no_balanced_split(root):
    spec = listed_spec(
        full_train_images=None, no_balanced_counterpart="small classes are all there is"
    )
    assert not spec.has_balanced_counterpart
    assert prepared(root, spec).no_balanced_counterpart == "small classes are all there is"
    assert "balanced" not in prepared(root, spec).images


def test_hidden_files_are_ignored(root):
    (root / "images/train/n01/.DS_Store").touch()
    assert prepared(root).no_balanced_counterpart is None


def test_unprepared_and_changed_folders_are_rejected(root):
    spec = listed_spec()
    folder = root / "data" / "toy_lt"
    with raises(DataError, "missing-data", "`ltbench data prepare toy_lt"):
        load_raw_dataset(spec, root / "data")
    prepared(root)
    (folder / "balanced.txt").write_text("")
    with raises(DataError, "mismatch", "balanced.txt"):
        open_prepared(spec, folder)
    (folder / "balanced.txt").unlink()
    with raises(DataError, "unreadable", "balanced.txt"):
        open_prepared(spec, folder)
    prepared(root)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["content"]["root"] = "elsewhere"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with raises(DataError, "missing-data", "toy_lt"):
        open_prepared(spec, folder)


def test_unpinned_lists_can_be_planned_after_preparation(root):
    lists = listed_spec().official_lists.model_dump()
    for part in ("train", "val", "test"):
        lists[part]["blob"] = None
    spec = listed_spec(official_lists=lists)
    assert measure_fingerprint(spec, root / "data") is None
    report = prepared(root, spec)
    assert measure_fingerprint(spec, root / "data") == report.fingerprint
    assert report.fingerprint == pinned_fingerprint(listed_spec().official_lists)


def test_other_lists_than_planned_are_rejected(root):
    prepared(root)
    other = listed_spec(fingerprint="0" * 64)
    with raises(DataError, "mismatch", "0" * 64):
        load_raw_dataset(other, root / "data")


def test_reports(root):
    assert "balanced split     9 images" in describe_preparation(prepared(root))
    spec = listed_spec()
    report = check(spec, root / "data")
    assert report.counts == (6, 2, 1)
    assert "3 a class" in describe(report)
    assert sum(report.raw_counts) == 9 + 3


def test_only_official_lists_can_be_prepared(digits, tmp_path):
    with raises(DataError, "conflict", "digits"):
        prepare(digits, tmp_path, tmp_path, tmp_path / "out")


def test_validation_images_are_those_of_their_list(root):
    spec = listed_spec()
    assert spec.auxiliary_or_default.id == "official_val"
    spec = spec.model_copy(update={"auxiliary": spec.auxiliary_or_default})
    prepared(root)
    raw = load_raw_dataset(spec, root / "data")
    split = make_split(spec, raw, "longtailed")
    assert split.auxiliary.images.paths == tuple(f"train/{i.folder}/7.jpg" for i in images("val"))
    assert split.auxiliary.counts(3) == (1, 1, 1)
    assert split.train_hash == make_split(listed_spec(), raw, "longtailed").train_hash


def test_without_a_validation_list_images_are_held_out(root):
    lists = listed_spec().official_lists.model_dump() | {"val": None}
    spec = listed_spec(official_lists=lists)
    spec = spec.model_copy(update={"auxiliary": spec.auxiliary_or_default})
    prepared(root, spec)
    raw = load_raw_dataset(spec, root / "data")
    split = make_split(spec, raw, "longtailed")
    assert split.counts == (3, 1, 1)
    assert split.longtailed_counts == (6, 2, 1)
    assert split.auxiliary.counts(3) == (3, 1, 0)
    held_out = set(split.auxiliary.images.paths)
    assert held_out.isdisjoint(raw.train_images[split.train].paths)
    assert len(held_out) + len(split.train) == 9


def test_official_lists_have_no_unused_pool(root):
    spec = listed_spec(auxiliary={"source": "unused_pool", "per_class": 1})
    prepared(root, spec)
    with raises(DataError, "split", "toy_lt"):
        make_split(spec, load_raw_dataset(spec, root / "data"), "longtailed")
