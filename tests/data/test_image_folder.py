"""Folders as people have them: stray files, links, names in two Unicode forms."""

import os
import shutil
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from ltbench.config.files import available
from ltbench.config.load import load_dataset
from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.image_cache import open_cache
from ltbench.data.image_folder import list_folder
from ltbench.data.sources import load_raw_dataset
from tests.support.errors import raises

PARTS = {"train": "train", "test": "test"}


@pytest.fixture
def toy(root):
    return root / "toy"


def rejected(toy, *facts):
    with raises(DataError, "bad-layout", *facts) as caught:
        list_folder(toy, PARTS)
    return str(caught.value).splitlines()[1:]


def test_files_that_are_no_images_are_skipped_and_said(toy):
    (toy / "train/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(60))
    (toy / "train/a/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(60))
    (toy / "train/a/notes.txt").write_text("BMW and P6 are no images")
    (toy / "train/b/.DS_Store").touch()
    (toy / "test/b/empty").touch()
    shutil.copy(toy / "train/a/0.png", toy / "train/a/without_suffix")
    (toy / "train/b/photo.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (toy / "train/c/cut.JPG").touch()
    index = list_folder(toy, PARTS)
    assert index.skipped == (
        *("train/Thumbs.db", "train/a/Thumbs.db", "train/a/notes.txt", "train/b/.DS_Store"),
        "test/b/empty",
    )
    paths = [file.path for file in index.parts["train"]]
    assert len(paths) == 15
    assert {"train/a/without_suffix", "train/b/photo.HEIC", "train/c/cut.JPG"} < {*paths}


@pytest.mark.parametrize("sizes", ["any", "equal"])
def test_skipped_files_are_neither_counted_nor_decoded(sizes, root, make_spec):
    before = load_raw_dataset(make_spec(sizes=sizes), root)
    (root / "toy/train/a/notes.txt").write_text("x")
    raw = load_raw_dataset(make_spec(sizes=sizes), root)
    assert (len(raw.train_images), raw.skipped) == (12, ("train/a/notes.txt",))
    assert raw.fingerprint == before.fingerprint


def test_a_class_of_stray_files_has_no_images(toy):
    shutil.rmtree(toy / "train/b")
    (toy / "train/b").mkdir()
    (toy / "train/b/notes.txt").write_text("x")
    first, *skipped = rejected(toy)
    assert first == "  train/b/ has no images"
    assert skipped[1:] == ["  train/b/notes.txt"]


def test_class_names_are_alike_in_every_unicode_form(toy):
    for part, form in (("train", "NFC"), ("test", "NFD")):
        (toy / part / "b").rename(toy / part / normalize(form, "é"))
    index = list_folder(toy, PARTS)
    assert index.classes == ("a", "c", normalize("NFC", "é"))
    (file,) = (file for file in index.parts["test"] if file.label == 2 and "0" in file.path)
    assert (toy / file.path).is_file()
    shutil.copytree(toy / "test" / normalize("NFD", "é"), toy / "test" / normalize("NFC", "é"))
    rejected(toy, "'\\xe9'", "'e\\u0301'")


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_file_in_two_parts_is_refused(link, toy):
    link(toy / "train/a/3.png", toy / "test/b/copy.png")
    link(toy / "train/a/4.png", toy / "test/a/copy.png")
    rejected(toy, "2 files", "test/a/copy.png is train/a/4.png")


@pytest.mark.parametrize("name", ["test", "test/a"])
def test_a_test_folder_that_links_to_the_training_folder_is_refused(name, toy):
    shutil.rmtree(toy / name)
    (toy / name).symlink_to(toy / "train" / name.partition("/")[2])
    rejected(toy, "12 files" if name == "test" else "6 files", "train and test")


def test_a_file_twice_in_a_part_is_read_twice(toy):
    os.link(toy / "train/a/3.png", toy / "train/a/again.png")
    assert len(list_folder(toy, PARTS).parts["train"]) == 13


def test_all_links_that_cannot_be_followed_are_named(toy, tmp_path):
    (tmp_path / "elsewhere.png").touch()
    (toy / "train/a/out.png").symlink_to(tmp_path / "elsewhere.png")
    (toy / "train/a/broken.png").symlink_to("nothing.png")
    (toy / "train/b/circle.png").symlink_to("circle.png")
    (toy / "train/d").symlink_to(tmp_path)
    os.mkfifo(toy / "test/a/pipe.png")
    lines = rejected(toy, "Copy the files")
    assert [line.split()[0] for line in lines if line.startswith("  train")] == [
        *("train/d", "train/a/broken.png", "train/a/out.png", "train/b/circle.png"),
    ]
    assert f"  train/a/out.png links to {tmp_path}/elsewhere.png, outside of the folder" in lines
    assert "  test/a/pipe.png is not a file" in lines


def test_links_may_lead_anywhere_below_the_folder_that_is_named(root, tmp_path, make_spec):
    """A folder of links beside the folder of the images."""
    (root / "toy").rename(root / "images")
    for part in ("train", "test"):
        for path in sorted((root / "images" / part).rglob("*.png")):
            link = root / "links" / path.relative_to(root / "images")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    with raises(DataError, "bad-layout", "train/a/0.png links to"):
        load_raw_dataset(make_spec(folder="links"), root)
    folders = {"train_folder": "links/train", "test_folder": "links/test"}
    raw = load_raw_dataset(make_spec(folder=str(root), **folders), tmp_path)
    assert len(raw.train_images) == 12
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "toy").symlink_to(root / "images")  # a link for a whole folder
    assert len(load_raw_dataset(make_spec(), tmp_path / "other").train_images) == 12


def test_a_folder_may_be_below_the_home(root, make_spec, monkeypatch):
    monkeypatch.setenv("HOME", str(root))
    assert len(load_raw_dataset(make_spec(folder="~/toy"), "/nowhere").train_images) == 12
    assert len(load_raw_dataset(make_spec(), "~").train_images) == 12
    with raises(DataError, "missing-data", "~nobody-here/toy"):
        load_raw_dataset(make_spec(folder="~nobody-here/toy"), root)


def test_an_empty_folder_name_is_the_name_of_the_dataset(root, make_spec):
    assert len(load_raw_dataset(make_spec(folder=""), root).train_images) == 12


@pytest.fixture
def turned(toy):
    """A folder with a photograph that was taken with the camera turned."""
    tags = Image.Exif()
    tags[0x0112] = 6
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(toy / "train/a/0.png", exif=tags)
    return pixels


@pytest.mark.parametrize("exif", ["upright", "keep"])
def test_orientation_is_heeded_everywhere(exif, root, turned, make_spec, cache):
    expected = np.rot90(turned, -1) if exif == "upright" else turned
    small = load_raw_dataset(make_spec(exif=exif), root)
    assert np.array_equal(small.train_images.read([0])[0], expected)
    spec = make_spec(exif=exif, sizes="any")
    raw = load_raw_dataset(spec, root)
    assert np.array_equal(raw.train_images.read([0])[0], expected)
    build_cache(spec, raw, 8)
    images, _ = open_cache(spec, raw, 8)
    assert np.array_equal(images["train"].read([0])[0], expected)


def test_caches_of_both_orientations_are_kept_apart(root, turned, make_spec):
    specs = [make_spec(exif=exif, sizes="any") for exif in ("upright", "keep")]
    raws = [load_raw_dataset(spec, root) for spec in specs]
    for spec, raw in zip(specs, raws, strict=True):
        build_cache(spec, raw, 8)
    caches = [open_cache(spec, raw, 8) for spec, raw in zip(specs, raws, strict=True)]
    upright, kept = (images["train"].read([0])[0] for images, _ in caches)
    assert not np.array_equal(upright, kept)
    small = [load_raw_dataset(make_spec(exif=exif), root) for exif in ("upright", "keep")]
    upright, kept = (raw.train_images.read([0])[0] for raw in small)
    assert not np.array_equal(upright, kept)


def test_own_photographs_are_upright_and_by_size_and_benchmarks_are_not(tmp_path, monkeypatch):
    for name in available("datasets"):
        assert (load_dataset(name).exif, load_dataset(name).class_order) == ("keep", "index")
        assert not {"exif", "class_order"} & load_dataset(name).identity().keys()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/datasets").mkdir(parents=True)
    own = tmp_path / "configs/datasets/own.yaml"
    text = (
        "{title: Own, source: image_folder, classes: 2, image_size: 8, "
        "normalization: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}%s}"
    )
    made, natural = ", imbalance_type: step, imbalance_ratio: 2", ", imbalance_type: natural"
    own.write_text(text % made)
    assert load_dataset("own").identity()["class_order"] == "size"
    own.write_text(text % natural)
    assert load_dataset("own").identity()["exif"] == "upright"
    assert "class_order" not in load_dataset("own").identity()
    own.write_text(text % f"{made}, exif: keep, class_order: index, max_pixels: 5")
    assert load_dataset("own").exif == "keep"
    assert not {"exif", "class_order", "max_pixels"} & load_dataset("own").identity().keys()


@pytest.mark.parametrize("sizes", ["any", "equal"])
def test_large_images_are_named_and_may_be_allowed(sizes, root, make_spec):
    def read(**changes):
        raw = load_raw_dataset(make_spec(sizes=sizes, **changes), root)
        return raw.train_images.read([0])

    with raises(DataError, "bad-images", "train/a/0.png", "63 pixels", "max_pixels"):
        read(max_pixels=63)
    assert len(read(max_pixels=64)) == 1
