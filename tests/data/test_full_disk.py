"""Caches on disks that are full, read-only or limited: a message, and nothing half-made."""

import subprocess
import sys

import pytest
from PIL import Image

from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.sources import load_raw_dataset

LIMITED = """\
import resource, sys
from ltbench.config.models import DatasetSpec
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
    """Mounts a disk of its own as the cache's; skips the test where that is not allowed."""
    place = cache.parent

    def mount(options):
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return cache

    yield mount
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True)


def left(cache):
    """Return what lies in the cache beside lock files."""
    return [path for path in cache.iterdir() if not path.name.endswith(".lock")]


def refused(make):
    with pytest.raises(DataError) as caught:
        make()
    assert "LTBENCH_CACHE" in str(caught.value)
    return str(caught.value)


def test_a_full_disk_packs_nothing(root, make_spec, small_disk):
    for path in (root / "toy").rglob("*.png"):
        Image.open(path).resize((100, 100)).save(path)
    cache = small_disk("size=300k")  # 18 images of 30 kB
    said = refused(lambda: load_raw_dataset(make_spec(image_size=100), root))
    assert "0.5 MB" in said
    assert "0.3 MB" in said
    assert left(cache) == []


def test_room_that_another_takes_is_missed_before_anything_is_mapped(root, make_spec, small_disk):
    """Room enough for the pixels, not for the files around them."""
    cache = small_disk("size=12k")
    refused(lambda: load_raw_dataset(make_spec(), root))
    assert left(cache) == []


@pytest.mark.parametrize("quality", [None, 90])
def test_a_full_disk_holds_no_resized_images(listed, small_disk, quality):
    spec, raw = listed
    cache = small_disk("size=16k")
    refused(lambda: build_cache(spec, raw, 60, quality=quality, processes=2))
    whole = [path.stem for folder in left(cache) for path in folder.glob("*.json")]
    assert "train-00000" not in whole
    assert not [path for folder in left(cache) for path in folder.glob(".*")]


def test_a_read_only_disk(root, make_spec, listed, small_disk):
    small_disk("ro")
    assert "Read-only" in refused(lambda: load_raw_dataset(make_spec(), root))
    spec, raw = listed
    assert "Read-only" in refused(lambda: build_cache(spec, raw, 12))


def test_files_that_may_not_grow(root, make_spec, cache):
    """As under a quota of the user or of the batch system; a signal ends nothing."""
    command = [sys.executable, "-c", LIMITED, make_spec().model_dump_json(), str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "LTBENCH_CACHE" in done.stdout
    assert left(cache) == []
