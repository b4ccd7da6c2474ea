import os
from pathlib import Path

import pytest
from PIL import Image

from ltbench.data.errors import DataError
from ltbench.data.images import FileImages
from ltbench.data.soundness import check_images
from tests.support.errors import raises

NAMES = tuple(f"{i}.jpg" for i in range(200))


@pytest.fixture
def files(tmp_path, cache):
    """Two hundred small images, more than one process gets at a time."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        Image.new("RGB", (9 + i % 5, 9), (i, 0, 0)).save(folder / name)
    return FileImages(folder, NAMES, 3)


def check(files, processes=1):
    """Return how many files were decoded, and what was wrong with them."""
    seen = [(0, 0)]
    try:
        check_images("toy", [files], processes=processes, progress=lambda *of: seen.append(of))
    except DataError as error:
        return seen[-1][1], str(error)
    return seen[-1][1], None


def damage(files):
    root = files.root
    (root / "3.jpg").write_bytes(b"")
    (root / "70.jpg").write_text("<!DOCTYPE html><html><body>404</body></html>")
    os.truncate(root / "150.jpg", (root / "150.jpg").stat().st_size - 30)
    (root / "199.jpg").unlink()
    (root / "198.jpg").unlink()
    (root / "198.jpg").mkdir()


@pytest.mark.parametrize("processes", [1, 2])
def test_all_bad_files_are_named(files, processes):
    assert [*map(len, check_images("toy", [files, files]))] == [200, 200]
    damage(files)
    decoded, message = check(files, processes)
    assert decoded == 5
    assert "5 of 200" in message
    for name in ("3.jpg", "70.jpg", "150.jpg", "198.jpg", "199.jpg"):
        assert f"  {name} " in message


def test_good_files_are_decoded_again_only_after_a_change(files):
    damage(files)
    assert check(files)[0] == 200
    assert check(files)[0] == 5
    for name in ("3.jpg", "70.jpg", "150.jpg", "199.jpg"):
        Image.new("RGB", (9, 9)).save(files.root / name)
    (files.root / "198.jpg").rmdir()
    Image.new("RGB", (9, 9)).save(files.root / "198.jpg")
    assert check(files) == (5, None)
    assert check(files) == (0, None)
    (files.root / "0.jpg").write_bytes((files.root / "0.jpg").read_bytes()[:-30])
    assert check(files)[0] == 1


def test_the_cache_of_good_files_is_optional(files, cache, monkeypatch):
    assert check(files) == (200, None)
    (memory,) = cache.glob("sound-*")
    memory.write_text("{")
    assert check(files) == (200, None)
    monkeypatch.setenv("LTBENCH_CACHE", str(Path("/proc/nowhere")))
    assert check(files) == (200, None)


def test_a_folder_without_any_of_its_images_is_named_once(files):
    assert check(files) == (200, None)
    files.root.rename(files.root.with_name("unmounted"))
    files.root.mkdir()
    with raises(DataError, "missing-data", files.root, "200 images"):
        check_images("toy", [files])
