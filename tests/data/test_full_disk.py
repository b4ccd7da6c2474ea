"""Caches on full, read-only or limited disks: an error, no partial files."""

import subprocess
import sys

import pytest
from PIL import Image

from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.sources import load_raw_dataset

LIMITED = """\
import resource, sys
from ltbench.config.dataset import DatasetSpec
from ltbench.data.errors import DataError
from ltbench.data.sources import load_raw_dataset
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    load_raw_dataset(DatasetSpec.model_validate_json(sys.argv[1]), sys.argv[2])
except DataError as error:
    print(error)
    sys.exit(7)
"""


@pytest.fixture
def small_disk(cache):
    """Mounts a disk as the cache folder; skips the test without permission."""
    folder = cache.parent

    def mount(options):
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return cache

    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


def files_in(cache):
    """Return the entries of the cache except lock files."""
    return [path for path in cache.iterdir() if not path.name.endswith(".lock")]


def error_of(load):
    """Return the message of the DataError that a call ends with."""
    with pytest.raises(DataError) as caught:
        load()
    assert "LTBENCH_CACHE" in str(caught.value)
    return str(caught.value)


def test_a_full_disk_leaves_no_array_cache(root, make_spec, small_disk):
    for path in (root / "toy").rglob("*.png"):
        Image.open(path).resize((100, 100)).save(path)
    cache = small_disk("size=300k")  # 18 images of 30 kB
    message = error_of(lambda: load_raw_dataset(make_spec(image_size=100), root))
    assert "0.5 MB" in message
    assert "0.3 MB" in message
    assert files_in(cache) == []


def test_disk_space_is_reserved_before_memory_mapping(root, make_spec, small_disk):
    """The disk has space for the pixels, not for other files."""
    cache = small_disk("size=12k")
    error_of(lambda: load_raw_dataset(make_spec(), root))
    assert files_in(cache) == []


@pytest.mark.parametrize("quality", [None, 90])
def test_a_full_disk_leaves_no_image_cache(listed, small_disk, quality):
    spec, raw = listed
    cache = small_disk("size=16k")
    error_of(lambda: build_cache(spec, raw, 60, quality=quality, processes=2))
    whole = [path.stem for folder in files_in(cache) for path in folder.glob("*.json")]
    assert "train-00000" not in whole
    assert not [path for folder in files_in(cache) for path in folder.glob(".*")]


def test_a_read_only_disk(root, make_spec, listed, small_disk):
    small_disk("ro")
    assert "Read-only" in error_of(lambda: load_raw_dataset(make_spec(), root))
    spec, raw = listed
    assert "Read-only" in error_of(lambda: build_cache(spec, raw, 12))


def test_a_file_size_limit(root, make_spec, cache):
    """A file size limit, as of a quota, is an error."""
    command = [sys.executable, "-c", LIMITED, make_spec().model_dump_json(), str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "LTBENCH_CACHE" in done.stdout
    assert files_in(cache) == []
