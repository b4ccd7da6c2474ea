import re

import pytest
from pydantic import ValidationError

from ltbench.config.load import load_dataset
from ltbench.data.describe import describe_lists
from ltbench.data.errors import DataError
from ltbench.data.imbalance import split_size
from ltbench.data.official_lists import (
    blob_id,
    blobs_of,
    canonical_text,
    check_lists,
    lists_fingerprint,
    path_of,
    pinned_fingerprint,
    read_lists,
)
from ltbench.data.sources import measure_fingerprint
from tests.support import processes
from tests.support.errors import raises
from tests.support.listed_images import COUNTS, TEST_FORMATS, images, listed_spec, write_lists


@pytest.mark.parametrize("which", [0, 1])
def test_lists_are_the_same_in_every_path_format(tmp_path, which):
    spec = listed_spec()
    write_lists(tmp_path, spec, which)
    official = read_lists(spec, spec.official_lists, tmp_path)
    assert official.classes == ("n01", "n02-outdoor", "n03")
    assert {part: list(of) for part, of in official.parts.items()} == {
        part: images(part) for part in ("train", "val", "test")
    }
    blobs = blobs_of(spec.official_lists, official)
    assert blobs == {part: file.blob for part, file in spec.official_lists.files.items()}
    assert lists_fingerprint(blobs) == pinned_fingerprint(spec.official_lists)


def test_byte_order_marks_and_line_ends_change_no_list(tmp_path):
    spec = listed_spec()
    write_lists(tmp_path, spec, 0)
    plain = read_lists(spec, spec.official_lists, tmp_path)
    path = tmp_path / spec.official_lists.train.file
    text = path.read_text()
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        assert read_lists(spec, spec.official_lists, tmp_path) == plain


def test_paths_of_an_image():
    image = images("train")[6]
    assert path_of(image, "train/{class}/{name}") == "train/n02-outdoor/0.jpg"
    assert path_of(image, "data/{initial}/{nested}/{name}") == "data/n/n02/outdoor/0.jpg"
    for bad in ("/train/{name}", "train/{kind}/{name}", "train/x.jpg"):
        with pytest.raises(ValidationError):
            listed_spec(
                official_lists=listed_spec().official_lists.model_dump()
                | {"train": {"paths": [bad]}}
            )


def test_a_blob_id_is_that_of_git(tmp_path):
    text = canonical_text(images("test"), TEST_FORMATS[0])
    (tmp_path / "list.txt").write_text(text)
    command = ["git", "hash-object", "--no-filters", str(tmp_path / "list.txt")]
    try:
        done = processes.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("no git")
    assert blob_id(text) == done.stdout.strip()


@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        ("train", lambda text: "", "train_list.txt has 0 images, expected 9"),
        ("train", lambda text: text + "train/n01/7.jpg 0\n", "has 10 images, expected 9"),
        ("train", lambda text: text.replace("0.jpg", "9.jpg", 1), "is not the official list"),
        ("train", lambda text: text.replace(" 2\n", "\n"), "train_list.txt:9: expected a path"),
        ("train", lambda text: text.replace(" 2\n", " 3\n"), "class 3 is not below 3"),
        ("train", lambda text: text.replace("n03", "n01"), "n01 is the folder of several"),
        (
            "test",
            lambda text: text.replace("n03", "n01"),
            "test_list.txt:5: class 2 is n03, not n01",
        ),
        ("train", lambda text: text.replace("1.jpg", "0.jpg", 1), "n01/0.jpg is listed twice"),
        ("val", lambda text: text.replace("train/", "other/"), "none of the expected path formats"),
        ("val", lambda text: text.replace("7.jpg", ".."), "none of the expected path formats"),
        (
            "val",
            lambda text: text.replace("train/", "train/../"),
            "none of the expected path formats",
        ),
    ],
)
def test_damaged_lists_are_rejected(tmp_path, part, change, problem):
    spec = listed_spec()
    write_lists(tmp_path, spec)
    path = tmp_path / spec.official_lists.files[part].file
    path.write_text(change(path.read_text()))
    with raises(DataError, "bad-layout", problem):
        read_lists(spec, spec.official_lists, tmp_path)


def test_all_errors_are_reported_together(tmp_path):
    spec = listed_spec()
    write_lists(tmp_path, spec)
    (tmp_path / "val_list.txt").unlink()
    (tmp_path / "test_list.txt").write_bytes(b"\xff\n")
    (tmp_path / "train_list.txt").write_text("train/n01/0.jpg\n")
    facts = ("val_list.txt is missing", "test_list.txt:1", "train_list.txt:1")
    with raises(DataError, "bad-layout", *facts):
        read_lists(spec, spec.official_lists, tmp_path)


def test_counts_are_checked_without_pinned_lists(tmp_path):
    spec = listed_spec()
    lists = spec.official_lists.model_dump()
    for part in ("train", "val", "test"):
        lists[part]["blob"] = None
    spec = listed_spec(official_lists=lists | {"max_per_class": 7, "group_sizes": (1, 0, 2)})
    write_lists(tmp_path, spec)
    assert pinned_fingerprint(spec.official_lists) is None
    with raises(DataError, "bad-layout", "6 to 1 images", "expected 7 to 1", "0/0/3 many"):
        read_lists(spec, spec.official_lists, tmp_path)


def test_planning_needs_neither_lists_nor_images(tmp_path):
    spec = listed_spec()
    assert measure_fingerprint(spec, tmp_path) == pinned_fingerprint(spec.official_lists)
    assert split_size(spec, "longtailed") == sum(COUNTS)
    assert split_size(spec, "balanced") == sum(COUNTS) // 3 * 3


@pytest.mark.parametrize(
    ("name", "fingerprint", "balanced"),
    [
        ("imagenet_lt", "08ae0dea4ba7570a85632ef014533641d52686690f5ac4512dceedd1ad02e9a3", 115000),
        ("places_lt", "184d20ec0543183e41be6c9847ec6735682e70c38a799e9502942645a8622f71", 62415),
        ("inaturalist2018", "98008f4124475baf9ee6ac1600b0cb01700bd83064f7e0bec8754ef2d26cd5ed", 0),
    ],
)
def test_the_official_lists_are_pinned_for_good(name, fingerprint, balanced):
    spec = load_dataset(name)
    assert pinned_fingerprint(spec.official_lists) == fingerprint
    assert spec.has_balanced_counterpart == bool(balanced)
    assert not balanced or split_size(spec, "balanced") == balanced
    if spec.official_lists.group_sizes is not None:
        assert sum(spec.official_lists.group_sizes) == spec.classes


def test_lists_belong_to_their_source(digits):
    with pytest.raises(ValidationError, match="needs"):
        listed_spec(official_lists=None)
    with pytest.raises(ValidationError, match="imbalance_type must be natural"):
        listed_spec(imbalance_type="step", imbalance_ratio=10)
    with pytest.raises(ValidationError, match="full_train_images"):
        type(digits)(**digits.model_dump() | {"full_train_images": 5})


def test_lists_can_be_checked_without_images(tmp_path):
    spec = listed_spec()
    write_lists(tmp_path, spec)
    assert check_lists(spec, spec.official_lists, tmp_path) == {"train": 9, "val": 3, "test": 6}
    (tmp_path / "train_list.txt").unlink()
    found = check_lists(spec, spec.official_lists, tmp_path)
    assert found == {"val": 3, "test": 6}
    text = describe_lists(spec.official_lists, found)
    assert re.search(r"train_list.txt +missing", text)
    assert f"6 images, official, git blob {spec.official_lists.test.blob}" in text
    path = tmp_path / "val_list.txt"
    path.write_text(path.read_text().replace("7.jpg", "6.jpg"))
    with raises(DataError, "bad-layout", "val_list.txt"):
        check_lists(spec, spec.official_lists, tmp_path)
    with raises(DataError, "missing-data", "toy_lt", tmp_path / "elsewhere"):
        check_lists(spec, spec.official_lists, tmp_path / "elsewhere")
