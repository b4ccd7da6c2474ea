import io
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ltbench.config.load import load_recipe
from ltbench.config.recipe import Recipe
from ltbench.data import cache_building
from ltbench.data.cache_building import build_cache, drop_damaged
from ltbench.data.decode import decode, resize_shorter
from ltbench.data.describe import describe_cache
from ltbench.data.errors import DataError
from ltbench.data.files import read_manifest
from ltbench.data.image_cache import cache_folder, open_cache, open_images
from ltbench.data.prepare import prepare
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import make_split
from tests.support.errors import raises
from tests.support.listed_images import resized_recipe

SIDE = 12


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache_building, "SHARD", 4)


def every(files):
    return list(range(len(files)))


def opened(spec, raw, resize_shorter_side=SIDE, quality=None):
    """Return the images as the jobs of a recipe read them."""
    changes = resized_recipe(resize_shorter_side=resize_shorter_side, jpeg_quality=quality)
    return open_images(spec, raw, Recipe(**load_recipe("digits").model_dump() | changes))


def expected(files, quality=None):
    for path in files.paths:
        image = resize_shorter(decode((files.root / path).read_bytes(), 3), SIDE)
        if quality is not None:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality)
            image = Image.open(file)
        yield np.asarray(image)


def written(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*-*")}


@pytest.mark.parametrize("quality", [None, 90])
def test_a_cache_holds_the_resized_images(listed, quality):
    spec, raw = listed
    assert open_cache(spec, raw, SIDE, quality) is None
    seen = []
    built = build_cache(
        spec, raw, SIDE, quality=quality, processes=2, progress=lambda *of: seen.append(of)
    )
    assert seen == [(n, 5) for n in range(6)]  # three shards of training images, two of the test
    assert built.images == 12 + 6
    assert not built.bad
    parts, bad = open_cache(spec, raw, SIDE, quality, threads=2)
    assert bad is None
    for part, files in raw.files.items():
        read = replace(files, resize_shorter_side=SIDE, quality=quality, threads=2).read
        images = zip(
            expected(files, quality),
            parts[part].read(every(files)),
            read(every(files)),
            strict=True,
        )
        for image, cached, decoded in images:
            assert min(image.shape[:2]) == SIDE
            assert np.array_equal(image, cached)
            assert np.array_equal(image, decoded)
    assert f"{built.images} " in describe_cache(built).replace(",", " ")


def test_caches_of_different_qualities_coexist(listed):
    spec, raw = listed
    folders = {build_cache(spec, raw, SIDE, quality=quality).folder for quality in (None, 80, 90)}
    assert len(folders) == 3
    packed = cache_folder(spec, raw, SIDE, 90)
    assert packed.name.startswith("toy_lt-12-q90-")
    (packed / "train-00000.bin").write_bytes(bytes(100_000))
    assert drop_damaged(packed) == ["train-00000"]
    assert build_cache(spec, raw, SIDE, quality=90).images == 18
    assert drop_damaged(packed) == []


def test_a_cache_is_of_the_images_of_one_fingerprint(listed):
    spec, raw = listed
    build_cache(spec, raw, SIDE)
    assert open_cache(spec, raw, SIDE) is not None
    assert open_cache(spec, replace(raw, fingerprint="0" * 64), SIDE) is None


def test_a_damaged_cached_image_is_an_error(listed):
    spec, raw = listed
    folder = build_cache(spec, raw, SIDE, quality=90).folder
    path = folder / "train-00000.bin"
    path.write_bytes(bytes(path.stat().st_size))
    parts, _ = open_cache(spec, raw, SIDE, 90)
    with raises(DataError, "bad-cache", "--verify"):
        parts["train"].read([0])


def test_images_are_read_from_the_cache_or_the_files(listed):
    spec, raw = listed
    assert opened(spec, raw) is raw
    build_cache(spec, raw, SIDE)
    cached = opened(spec, raw)
    assert not cached.files
    assert cached.train_labels is raw.train_labels
    assert open_cache(spec, raw, SIDE + 1) is None


def test_an_interrupted_build_resumes(listed):
    spec, raw = listed
    folder = cache_folder(spec, raw, SIDE)
    build_cache(spec, raw, SIDE)
    before = written(folder)
    (folder / "manifest.json").unlink()
    (folder / "train-00001.json").unlink()
    (folder / ".train-00001.bin").write_bytes(b"half")
    assert open_cache(spec, raw, SIDE) is None
    seen = []
    build_cache(spec, raw, SIDE, progress=lambda *of: seen.append(of))
    assert seen == [(4, 5), (5, 5)]
    after = written(folder)
    changed = {name for name, when in after.items() if when != before[name]}
    assert changed == {"train-00001.json", "train-00001.bin"}
    assert not list(folder.glob(".*"))
    assert open_cache(spec, raw, SIDE) is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "train-00001.bin", 5),
        lambda folder: (folder / "test-00000.bin").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
    ],
    ids=["truncated", "absent", "manifest"],
)
def test_a_damaged_cache_is_not_used_but_repaired(damage, listed):
    spec, raw = listed
    folder = cache_folder(spec, raw, SIDE)
    build_cache(spec, raw, SIDE)
    damage(folder)
    assert open_cache(spec, raw, SIDE) is None
    build_cache(spec, raw, SIDE)
    parts, _ = open_cache(spec, raw, SIDE)
    files = raw.files["train"]
    images = zip(expected(files), parts["train"].read(every(files)), strict=True)
    assert all(np.array_equal(*pair) for pair in images)


def test_verify_finds_changed_bytes(listed):
    spec, raw = listed
    folder = cache_folder(spec, raw, SIDE)
    build_cache(spec, raw, SIDE)
    assert drop_damaged(folder) == []
    path = folder / "train-00002.bin"
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    assert open_cache(spec, raw, SIDE) is not None
    assert drop_damaged(folder) == ["train-00002"]
    assert open_cache(spec, raw, SIDE) is None
    build_cache(spec, raw, SIDE)
    assert drop_damaged(folder) == []


@pytest.fixture
def with_bad(listed):
    """Two training images that are bad; one is in both splits."""
    spec, raw = listed
    root = raw.files["train"].root
    (root / "train/n03/0.jpg").write_bytes(b"")
    (root / "train/n01/1.jpg").write_bytes((root / "train/n01/1.jpg").read_bytes()[:-60])
    return spec, raw


def knowing(spec, bad):
    return spec.model_copy(update={"bad_images": bad})


def test_all_bad_images_are_named(with_bad):
    spec, raw = with_bad
    facts = ("2 images", "train/n03/0.jpg is empty", "train/n01/1.jpg is damaged")
    with raises(DataError, "bad-images", *facts):
        build_cache(spec, raw, SIDE)
    assert open_cache(spec, raw, SIDE) is None
    with raises(DataError, "bad-images", "n03/0.jpg is empty"):
        raw.files["train"].read([8])


def test_bad_training_images_may_be_skipped(listed):
    spec, raw = listed
    for name in ("1.jpg", "3.jpg"):
        (raw.files["train"].root / "train/n01" / name).write_bytes(b"")
    whole = make_split(spec, raw, "longtailed")
    built = build_cache(spec, raw, SIDE, on_bad="skip")
    assert set(built.bad) == {"train/n01/1.jpg", "train/n01/3.jpg"}
    assert "train/n01/3.jpg is empty" in describe_cache(built)
    bad = built.bad_images
    assert (bad.on_bad, bad.train, bad.test, str(bad)) == ("skip", 2, 0, "2 images skipped")
    rest = opened(knowing(spec, bad), raw)
    split = make_split(spec, rest, "longtailed")
    assert split.counts == (4, 2, 1)
    assert split.train_hash != whole.train_hash
    assert set(whole.train.tolist()) - set(split.train.tolist()) == {1, 3}


def test_a_class_without_usable_images_is_an_error(listed):
    spec, raw = listed
    (raw.files["train"].root / "train/n03/0.jpg").write_bytes(b"")
    bad = build_cache(spec, raw, SIDE, on_bad="skip").bad_images
    rest = opened(knowing(spec, bad), raw)
    with raises(DataError, "split", "n03"):
        make_split(spec, rest, "longtailed")


def test_a_bad_test_image_is_never_skipped(listed):
    spec, raw = listed
    files = raw.files["test"]
    (files.root / files.paths[2]).write_bytes(b"hello")
    for policy in ("error", "skip"):
        with raises(DataError, "bad-images", "1 images", files.paths[2]):
            build_cache(spec, raw, SIDE, on_bad=policy)
    built = build_cache(spec, raw, SIDE, on_bad="report")
    assert list(built.bad) == [files.paths[2]]
    assert (built.bad_images.train, built.bad_images.test) == (0, 1)


@pytest.mark.parametrize("quality", [None, 90])
def test_bad_images_may_be_black_until_they_are_repaired(with_bad, quality):
    spec, raw = with_bad
    files = raw.files["train"]
    good = dict(zip(files.paths, every(files), strict=True))
    bad = build_cache(spec, raw, SIDE, quality=quality, on_bad="report").bad_images
    assert (bad.on_bad, bad.train, bad.test) == ("report", 2, 0)
    rest = opened(knowing(spec, bad), raw, quality=quality)
    assert rest.predefined is raw.predefined
    (image,) = rest.train_images.read([good["train/n03/0.jpg"]])
    assert image.shape == (SIDE, SIDE, 3)
    assert not image.any()
    for path in ("train/n03/0.jpg", "train/n01/1.jpg"):
        (files.root / path).write_bytes((files.root / files.paths[3]).read_bytes())
    assert not build_cache(spec, raw, SIDE, quality=quality, on_bad="error").bad
    opened(spec, raw, quality=quality)
    assert read_manifest(cache_folder(spec, raw, SIDE, quality))["bad"] == {}


def test_other_images_than_planned_are_rejected(with_bad):
    spec, raw = with_bad
    skipped = build_cache(spec, raw, SIDE, on_bad="skip").bad_images
    opened(knowing(spec, skipped), raw)
    black = skipped.model_copy(update={"on_bad": "report"})
    fewer = skipped.model_copy(update={"train": 1, "hash": "0" * 64})
    for planned in (None, black, fewer):
        with raises(DataError, "mismatch", spec.name, planned or "all images"):
            opened(knowing(spec, planned), raw)
    with raises(DataError, "mismatch", "no cache"):
        opened(knowing(spec, skipped), raw, SIDE + 1)


def test_bad_images_do_not_depend_on_the_folder(with_bad, tmp_path):
    spec, raw = with_bad
    here = build_cache(spec, raw, SIDE, on_bad="skip").bad_images
    root = raw.files["train"].root
    moved = root.rename(root.with_name("moved"))
    prepare(spec, moved, tmp_path / "official_lists", tmp_path / "data" / spec.name)
    there = load_raw_dataset(spec, tmp_path / "data")
    assert build_cache(spec, there, SIDE, on_bad="skip").bad_images == here


def test_a_missing_file_is_a_bad_image(listed):
    spec, raw = listed
    (raw.files["train"].root / "train/n01/2.jpg").unlink()
    with raises(DataError, "bad-images", "n01/2.jpg", "No such file"):
        build_cache(spec, raw, SIDE)
