"""Views of training images: by the recipe or distorted."""

from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

import ltbench.data.augmented_view as views_of_images
from ltbench.augment import SMALLEST, crop_boxes, draw_crops
from ltbench.config.load import load_recipe
from ltbench.config.recipe import Recipe
from ltbench.core.seeding import make_generator
from ltbench.data.cache_building import build_cache
from ltbench.data.datamodule import DataModule
from ltbench.data.fixed_size import FixedSizeBatches
from ltbench.data.images import InMemoryImages
from ltbench.data.sources import load_raw_dataset
from tests.support.listed_images import resized_recipe

BOTH = ("recipe", "distorted")


@pytest.fixture(params=["digits", "color", "files", "cache"])
def make_data(request, digits):
    """Return a function that makes data with distorted views, of one kind of images."""
    spec, raw = digits, load_raw_dataset(digits)
    if request.param == "color":
        spec = digits.model_copy(
            update={
                "channels": 3,
                "normalization": digits.normalization.model_copy(
                    update={"mean": (0.5,) * 3, "std": (0.3,) * 3}
                ),
            }
        )
        raw = replace(raw, train_images=InMemoryImages(colored(raw.train_images.pixels)))
    if request.param in ("files", "cache"):
        spec, raw = request.getfixturevalue("listed")
    if request.param == "cache":
        build_cache(spec, raw, 12)

    def make(seed=0, views=BOTH, **changes):
        listed = request.param in ("files", "cache")
        changes = resized_recipe(**changes) if listed else {"batch_size": 32} | changes
        recipe = Recipe(**load_recipe("digits").model_dump() | changes)
        data = DataModule(spec, "longtailed", recipe, seed=seed, epochs=3, raw=raw)
        data.views = views
        return data

    return make


def colored(gray):
    """Return gray images [N, 1, H, W] in three colors."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 200, (len(gray), 3, *gray.shape[2:]))
    return np.clip(gray.astype(np.int64) + noise, 0, 255).astype(np.uint8)


def images_of(data, epoch=0, first=0):
    return [batch.images for batch in data.epoch(epoch, first)]


def test_the_recipes_view_is_as_without_the_other(make_data):
    both, alone = images_of(make_data()), images_of(make_data(views=("recipe",)))
    assert both[0].shape == (2, *alone[0].shape)
    for pair, single in zip(both, alone, strict=True):
        assert torch.equal(pair[0], single)
        assert not torch.equal(pair[1], single)


def test_views_differ_by_epoch_seed_and_position(make_data):
    twice = ("distorted", "distorted")
    first = images_of(make_data(views=twice))[0]
    assert torch.equal(first, images_of(make_data(views=twice))[0])
    others = [images_of(make_data(views=twice), 1)[0], images_of(make_data(1, views=twice))[0]]
    drawn = [*first, *others[0], *others[1]]
    assert not any(torch.equal(a, b) for a, b in combinations(drawn, 2))


def test_policy_and_jitter_have_no_part_in_distorted_views(make_data):
    data = make_data()
    changes = {"policy": {"kind": "randaugment", "cutout": 4}}
    if data.spec.any_size:
        changes["color_jitter"] = 0.0
    before, after = images_of(data), images_of(make_data(**changes))
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one[1], other[1])
        assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("first", [1, 2])
def test_a_resumed_epoch_equals_the_uninterrupted_one(make_data, first):
    data = make_data()
    whole, rest = images_of(data, 1), images_of(data, 1, first)
    assert len(rest) == len(whole) - first
    assert all(torch.equal(a, b) for a, b in zip(whole[first:], rest, strict=True))


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_see_columns_of_one_batch(make_data, ranks, monkeypatch):
    whole = images_of(make_data())
    monkeypatch.setattr("ltbench.data.augmented_view.world_size", lambda: ranks)
    parts = []
    for rank in range(ranks):
        monkeypatch.setattr("ltbench.data.augmented_view.rank", lambda rank=rank: rank)
        parts.append(images_of(make_data()))
    digits_of_sums = 1e-6 if make_data().spec.any_size else 0  # of windows in a smaller buffer
    for step, images in enumerate(whole):
        joined = torch.cat([part[step] for part in parts], dim=1)
        torch.testing.assert_close(joined, images, rtol=0, atol=digits_of_sums)


def test_the_layout_in_memory_changes_no_pixel(make_data):
    one, other = (images_of(make_data(channels_last=last))[0] for last in (False, True))
    assert torch.equal(one, other)


def test_cached_images_are_distorted_as_those_in_files(listed):
    spec, raw = listed
    recipe = Recipe(**load_recipe("digits").model_dump() | resized_recipe())

    def images():
        data = DataModule(spec, "longtailed", recipe, seed=0, raw=raw)
        data.views = BOTH
        return images_of(data)

    before = images()
    build_cache(spec, raw, 12)
    assert all(torch.equal(a, b) for a, b in zip(before, images(), strict=True))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_crops_of_images_in_memory_are_torchvisions(flip, padding, channels):
    side = 24
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (6, channels, side, side), dtype=torch.uint8, generator=generator)
    zero, one = (0.0,) * channels, (1.0,) * channels
    maker = FixedSizeBatches(pixels, zero, one, padding=padding, flip=flip)
    draws = maker.draw(1, 6, partial(make_generator, 0), distorted=True)
    params = draws.map(lambda values: values[0])
    index = torch.tensor([5, 1, 0, 0, 3, 5])
    found = 255 * maker(index, params)
    boxes = crop_boxes(params, torch.tensor([[side, side]]).expand(6, 2))
    assert (params.mirrored is not None) == flip
    for k, box in enumerate(boxes.tolist()):
        image = pixels[index[k]].double()
        expected = reference.resized_crop(image, *box, (side, side), antialias=True)
        if flip and params.mirrored[k] < 0.5:
            expected = reference.hflip(expected)
        torch.testing.assert_close(found[k].double(), expected, rtol=0, atol=0.51)


def test_crops_have_a_fifth_of_the_area_or_more():
    sizes = torch.tensor([[200, 200]]).expand(5000, 2)
    draws = draw_crops(1, 5000, torch.Generator().manual_seed(0), flip=False, smallest=SMALLEST)
    boxes = crop_boxes(draws.map(lambda values: values[0]), sizes).double()
    share = boxes[:, 2] * boxes[:, 3] / 200**2
    assert share.min() > SMALLEST - 0.01
    assert share.max() > 0.97
    usual = draw_crops(1, 5000, torch.Generator().manual_seed(0), flip=False)
    boxes = crop_boxes(usual.map(lambda values: values[0]), sizes).double()
    assert 0.07 < (boxes[:, 2] * boxes[:, 3]).min() / 200**2 < 0.09


@pytest.mark.parametrize(("side", "blurred"), [(8, 0.0), (64, 0.0), (65, 0.5), (224, 0.5)])
def test_large_images_are_blurred(side, blurred, digits, make_recipe, monkeypatch):
    seen = []
    draw = views_of_images.draw_distortion

    def recorded(*args, **kwargs):
        seen.append(kwargs["blurred"])
        return draw(*args, **kwargs)

    monkeypatch.setattr(views_of_images, "draw_distortion", recorded)
    maker = FixedSizeBatches(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), (0.0,), (1.0,))
    spec = digits.model_copy(update={"image_size": side})
    index = torch.zeros(2, 4, dtype=torch.int64)
    generators = partial(make_generator, 0)
    view = views_of_images.augmented_view(
        maker, index, spec, make_recipe(), generators, "distorted"
    )
    assert len(list(view)) == 2
    assert seen == [blurred]
