import shutil

import numpy as np
import pytest

from ltbench.data.describe import check
from ltbench.data.equal_images import describe_equal, equal_images
from ltbench.data.images import InMemoryImages
from ltbench.data.soundness import check_images


@pytest.mark.parametrize("sizes", ["any", "equal"])
def test_equal_images_are_found_across_parts_and_within(sizes, root, make_spec):
    toy = root / "toy"
    shutil.copy(toy / "train/a/0.png", toy / "test/b/copy.png")
    shutil.copy(toy / "train/a/0.png", toy / "train/b/copy.png")
    shutil.copy(toy / "train/c/0.png", toy / "train/c/copy.png")
    report = check(make_spec(sizes=sizes), root)
    files = report.files
    assert [*files] == (["train", "test"] if sizes == "any" else [])
    hashes = dict(zip(files, check_images("toy", files.values()), strict=True))
    assert equal_images(report.images, hashes) == [
        [("train", "train/a/0.png"), ("train", "train/b/copy.png"), ("test", "test/b/copy.png")],
        [("train", "train/c/0.png"), ("train", "train/c/copy.png")],
    ]


def test_images_without_names_are_known_by_their_positions():
    pixels = np.zeros((3, 1, 2, 2), np.uint8)
    pixels[1] = 1
    parts = {"train": InMemoryImages(pixels), "test": InMemoryImages(pixels[1:])}
    groups = equal_images(parts, {})
    assert groups == [
        [("train", "0"), ("train", "2"), ("test", "1")],
        [("train", "1"), ("test", "0")],
    ]
    first, warning, *named = describe_equal(groups).splitlines()
    assert first.split()[2:] == ["2", "in", "several", "parts,", "0", "repeated", "in", "one"]
    assert warning.startswith("warning: ")
    assert named == ["  0 (train) = 2 (train) = 1 (test)", "  1 (train) = 0 (test)"]
