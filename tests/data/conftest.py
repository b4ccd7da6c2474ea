import numpy as np
import pytest
from PIL import Image

from ltbench.config.load import load_dataset
from ltbench.data.prepare import prepare
from ltbench.data.sources import load_raw_dataset
from tests.support import toy_board
from tests.support.listed_images import listed_spec, picture, write_images, write_lists


@pytest.fixture
def digits():
    return load_dataset("digits")


@pytest.fixture
def make_spec():
    own = {
        "source": "image_folder",
        "classes": 3,
        "imbalance_type": "natural",
        "imbalance_ratio": None,
    }
    return lambda **changes: toy_board.dataset(**own | changes)


@pytest.fixture
def make_recipe():
    return lambda **changes: toy_board.recipe(**{"crop_padding": 1} | changes)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ltbench"


@pytest.fixture
def root(tmp_path, cache):
    """A data root with an image folder toy of PNGs.

    Classes a, b and c have 6, 4 and 2 training images, 2 test images each.
    """
    generator = np.random.default_rng(0)
    for part, counts in (("train", (6, 4, 2)), ("test", (2, 2, 2))):
        for name, count in zip("abc", counts, strict=True):
            folder = tmp_path / "root" / "toy" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "root"


@pytest.fixture
def listed(tmp_path, cache):
    """A prepared dataset of photographs of several sizes: specification, raw dataset."""
    spec = listed_spec()
    write_lists(tmp_path / "official_lists", spec)
    write_images(tmp_path / "images", content=picture)
    prepare(spec, tmp_path / "images", tmp_path / "official_lists", tmp_path / "data" / spec.name)
    return spec, load_raw_dataset(spec, tmp_path / "data")
