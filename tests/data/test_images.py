from dataclasses import replace

import numpy as np
import pytest

from ltbench.data.cache_building import build_cache
from ltbench.data.image_cache import open_cache
from ltbench.data.images import InMemoryImages

SIDE = 12


@pytest.fixture(params=["memory", "files", "pixels", "jpegs"])
def images(request, listed):
    """Twelve images: in memory, in files, cached as pixels, cached as JPEGs."""
    spec, raw = listed
    if request.param == "memory":
        pixels = np.random.default_rng(0).integers(0, 256, (12, 3, 5, 4), np.uint8)
        return InMemoryImages(pixels)
    if request.param == "files":
        return replace(raw.files["train"], resize_shorter_side=SIDE, threads=2)
    quality = 90 if request.param == "jpegs" else None
    build_cache(spec, raw, SIDE, quality=quality)
    return open_cache(spec, raw, SIDE, quality)[0]["train"]


def test_all_kinds_of_images_are_used_alike(images):
    positions = np.array([7, 0, 7, 11])
    assert len(images) == 12
    chosen = images[positions]
    assert len(chosen) == 4
    for image, same in zip(images.read(positions), chosen.read(range(4)), strict=True):
        assert np.array_equal(image, same)
        height, width, channels = image.shape
        assert image.dtype == np.uint8
        assert images.shape in (None, (channels, height, width))
        assert images.shape == chosen.shape
    assert [*chosen[np.array([3])].read([0])[0].flat] == [*images.read([11])[0].flat]
    assert len(images[positions[:0]]) == 0


def test_images_in_memory_are_read_with_channels_last():
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    (image,) = InMemoryImages(pixels).read([1])
    assert np.array_equal(image.transpose(2, 0, 1), pixels[1])
    assert InMemoryImages(pixels).shape == (3, 4, 5)
