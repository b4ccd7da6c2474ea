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
    TRAIN_FORMS,
    images,
    listed_spec,
    write_images,
    write_lists,
)


@pytest.fixture
def place(tmp_path):
    """A folder with lists, images, and the root of what is prepared."""
    write_lists(tmp_path / "official_lists", listed_spec())
    write_images(tmp_path / "images")
    return tmp_path


def prepared(place, spec=None):
    spec = spec or listed_spec()
    return prepare(spec, place / "images", place / "official_lists", place / "data" / spec.name)


def test_a_prepared_dataset_is_a_pool(place):
    spec = listed_spec()
    found = prepared(place)
    assert found.paths == {"train": "train/{class}/{name}", "test": "val/{class}/{name}"}
    assert found.images == {"train": 9, "val": 3, "test": 6, "balanced_counterpart": 9}
    raw = load_raw_dataset(
        spec.model_copy(update={"fingerprint": found.fingerprint}), place / "data"
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
    official = canonical_text(images("train"), TRAIN_FORMS[0])
    assert split.train_hash == hashlib.sha256(official.encode()).hexdigest()


def test_the_twin_follows_its_rule(place):
    spec = listed_spec()
    prepared(place)
    raw = load_raw_dataset(spec, place / "data")
    balanced_counterpart = make_split(spec, raw, "balanced")
    assert balanced_counterpart.counts == (3, 3, 3)
    assert balanced_counterpart.longtailed_counts == (6, 2, 1)
    chosen = [raw.train_images.paths[i] for i in balanced_counterpart.train]
    by_class = [chosen[3 * k : 3 * k + 3] for k in range(3)]
    assert [CLASSES.index(path.split("/")[1]) for path in chosen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert raw.train_labels[balanced_counterpart.train].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    listed = {f"train/{i.folder}/{i.name}" for i in images("train")}
    assert [len(listed.intersection(paths)) for paths in by_class] == [3, 2, 1]
    assert len(set(chosen)) == 9
    assert not {f"train/{i.folder}/{i.name}" for i in images("val")} & set(chosen)


def test_the_twin_is_the_same_wherever_the_images_are(place, tmp_path):
    spec = listed_spec()
    prepared(place)
    other = tmp_path / "other"
    write_lists(other / "official_lists", spec, form=1)
    write_images(other / "images", form=1)
    found = prepared(other)
    assert found.paths == {"train": "data/{initial}/{nested}/{name}", "test": "val/{name}"}
    here, there = (load_raw_dataset(spec, p / "data") for p in (place, other))
    for split in ("longtailed", "balanced"):
        a, b = (make_split(spec, raw, split) for raw in (here, there))
        assert (a.train_hash, a.test_hash) == (b.train_hash, b.test_hash)
        assert a.train.tolist() == b.train.tolist()
    assert here.fingerprint == there.fingerprint
    assert here.train_images.paths[6] == "train/n02-outdoor/0.jpg"
    assert there.train_images.paths[6] == "data/n/n02/outdoor/0.jpg"


def test_the_seed_draws_another_twin(place):
    def chosen(seed):
        spec = listed_spec(split_seed=seed)
        prepared(place, spec)
        return make_split(spec, load_raw_dataset(spec, place / "data"), "balanced").train_hash

    assert chosen(2020) == chosen(2020)
    assert len({chosen(seed) for seed in range(4)}) == 4


def test_missing_images_are_named_at_once_with_their_archive(place):
    for i in range(6):
        (place / f"images/train/n01/{i}.jpg").unlink()
    (place / "images/val/n03/104.jpg").unlink()
    train = ("6 of 12 train images", "train.tar", "train/n01/0.jpg", "and 1 more")
    with raises(DataError, "missing-data", *train, "1 of 6 test images", "val.tar"):
        prepared(place)
    assert not (place / "data" / "toy_lt").exists()


def test_lists_and_root_are_refused_together(place):
    (place / "lists/train_list.txt").unlink()
    with raises(DataError, "several", place / "nowhere", "train_list.txt"):
        prepare(listed_spec(), place / "nowhere", place / "official_lists", place / "data")


def test_a_part_of_the_pool_makes_no_twin(place):
    spec = listed_spec()
    (place / "images/train/n01/6.jpg").unlink()  # in no list
    found = prepared(place)
    assert re.findall(r"\d+", found.no_balanced_counterpart) == ["24", "23"]
    assert found.no_balanced_counterpart in describe_preparation(found)
    raw = load_raw_dataset(spec, place / "data")
    assert make_split(spec, raw, "longtailed").counts == (6, 2, 1)
    with raises(
        DataError, "split", "toy_lt", "balanced counterpart", found.no_balanced_counterpart
    ):
        make_split(spec, raw, "balanced")


def test_a_dataset_may_say_why_it_has_no_twin(place):
    spec = listed_spec(
        full_train_images=None, no_balanced_counterpart="small classes are all there is"
    )
    assert not spec.has_balanced_counterpart
    assert prepared(place, spec).no_balanced_counterpart == "small classes are all there is"
    assert "balanced_counterpart" not in prepared(place, spec).images


def test_hidden_files_are_no_images(place):
    (place / "images/train/n01/.DS_Store").touch()
    assert prepared(place).no_balanced_counterpart is None


def test_what_was_not_prepared_or_was_altered_is_refused(place):
    spec = listed_spec()
    folder = place / "data" / "toy_lt"
    with raises(DataError, "missing-data", "`ltbench data prepare toy_lt"):
        load_raw_dataset(spec, place / "data")
    prepared(place)
    (folder / "balanced_counterpart.txt").write_text("")
    with raises(DataError, "mismatch", "balanced_counterpart.txt"):
        open_prepared(spec, folder)
    (folder / "balanced_counterpart.txt").unlink()
    with raises(DataError, "unreadable", "balanced_counterpart.txt"):
        open_prepared(spec, folder)
    prepared(place)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["content"]["root"] = "elsewhere"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with raises(DataError, "missing-data", "toy_lt"):
        open_prepared(spec, folder)


def test_lists_without_a_pin_are_planned_once_prepared(place):
    lists = listed_spec().lists.model_dump()
    for part in ("train", "val", "test"):
        lists[part]["blob"] = None
    spec = listed_spec(official_lists=lists)
    assert measure_fingerprint(spec, place / "data") is None
    found = prepared(place, spec)
    assert measure_fingerprint(spec, place / "data") == found.fingerprint
    assert found.fingerprint == pinned_fingerprint(listed_spec().lists)


def test_other_lists_than_the_planned_ones_are_refused(place):
    prepared(place)
    other = listed_spec(fingerprint="0" * 64)
    with raises(DataError, "mismatch", "0" * 64):
        load_raw_dataset(other, place / "data")


def test_reports(place):
    assert "balanced counterpart 9 images" in describe_preparation(prepared(place))
    spec = listed_spec()
    report = check(spec, place / "data")
    assert report.counts == (6, 2, 1)
    assert "3 a class" in describe(report)
    assert sum(report.pool_counts) == 9 + 3


def test_only_lists_can_be_prepared(digits, tmp_path):
    with raises(DataError, "conflict", "digits"):
        prepare(digits, tmp_path, tmp_path, tmp_path / "out")


def test_validation_images_are_those_of_their_list(place):
    spec = listed_spec()
    assert spec.auxiliary_or_default.id == "official_val"
    spec = spec.model_copy(update={"auxiliary": spec.auxiliary_or_default})
    prepared(place)
    raw = load_raw_dataset(spec, place / "data")
    split = make_split(spec, raw, "longtailed")
    assert split.auxiliary.images.paths == tuple(f"train/{i.folder}/7.jpg" for i in images("val"))
    assert split.auxiliary.counts(3) == (1, 1, 1)
    assert split.train_hash == make_split(listed_spec(), raw, "longtailed").train_hash


def test_without_a_validation_list_images_are_held_out(place):
    lists = listed_spec().lists.model_dump() | {"val": None}
    spec = listed_spec(official_lists=lists)
    spec = spec.model_copy(update={"auxiliary": spec.auxiliary_or_default})
    prepared(place, spec)
    raw = load_raw_dataset(spec, place / "data")
    split = make_split(spec, raw, "longtailed")
    assert split.counts == (3, 1, 1)
    assert split.longtailed_counts == (6, 2, 1)
    assert split.auxiliary.counts(3) == (3, 1, 0)
    held_out = set(split.auxiliary.images.paths)
    assert held_out.isdisjoint(raw.train_images[split.train].paths)
    assert len(held_out) + len(split.train) == 9


def test_lists_leave_no_pool_unused(place):
    spec = listed_spec(auxiliary={"source": "unused_pool", "per_class": 1})
    prepared(place, spec)
    with raises(DataError, "split", "toy_lt"):
        make_split(spec, load_raw_dataset(spec, place / "data"), "longtailed")
