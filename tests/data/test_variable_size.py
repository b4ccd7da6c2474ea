import threading
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import distributed as dist
from torch import multiprocessing as mp
from torchvision.transforms import functional as reference

from ltbench.augment import crop_boxes, draw_crops, draw_jitter, jitter
from ltbench.config.load import load_recipe
from ltbench.config.recipe import Recipe
from ltbench.core.seeding import make_generator
from ltbench.data.cache_building import build_cache
from ltbench.data.datamodule import DataModule
from ltbench.data.errors import DataError
from ltbench.data.images import FileImages
from ltbench.data.loaders import OrderedLoader, rank_slice
from ltbench.data.variable_size import PREFETCH, VariableSizeBatches
from tests.support.errors import raises
from tests.support.listed_images import resized_recipe

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
SIDE = 8


class Memory:
    """Images in memory; records which are read, and in which thread."""

    def __init__(self, count=20):
        generator = np.random.default_rng(0)
        sizes = generator.integers(9, 16, (count, 2))
        self.images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        self.reads = []

    def read(self, positions):
        self.reads.append((list(positions), threading.current_thread() is threading.main_thread()))
        return [self.images[position] for position in positions]


def normalized(images):
    mean, std = (torch.tensor(v, dtype=images.dtype).view(3, 1, 1) for v in (MEAN, STD))
    return (images - mean) / std


def image_of(images, position):
    return torch.from_numpy(images.images[position]).permute(2, 0, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_test_takes_center_crops(dtype, channels_last):
    images = Memory()
    maker = VariableSizeBatches(images, SIDE, MEAN, STD, dtype=dtype, channels_last=channels_last)
    batch = maker(torch.tensor([9, 3, 4]))
    assert batch.dtype == dtype
    assert batch.is_contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    for position, image in zip((9, 3, 4), batch, strict=True):
        middle = reference.center_crop(image_of(images, position), [SIDE, SIDE])
        expected = normalized(middle.double() / 255).to(dtype)
        torch.testing.assert_close(image, expected)


def test_a_rank_without_images_has_an_empty_batch():
    maker = VariableSizeBatches(Memory(3), SIDE, MEAN, STD, dtype=torch.bfloat16)
    loaders = [
        OrderedLoader(maker, torch.arange(3), 2, span=rank_slice(3, rank, 4)) for rank in range(4)
    ]
    batches = [list(loader) for loader in loaders]
    assert [[len(batch) for batch in share] for share in batches] == [[0], [1], [1], [1]]
    ((empty,), (one,), *_) = batches
    assert empty.images.shape == (0, 3, SIDE, SIDE)
    assert empty.images.dtype == one.images.dtype


def test_an_epoch_equals_torchvisions_steps_one_by_one():
    images = Memory()
    index = torch.randint(20, (5, 4), generator=torch.Generator().manual_seed(1))
    maker = VariableSizeBatches(images, SIDE, MEAN, STD, flip=True, jitter=0.4, dtype=torch.float64)
    params = maker.draw(5, 4, partial(make_generator, 0))
    crops, colors = params
    jitter_params = draw_jitter(5, 4, 0.4, make_generator(0, "colour"))
    assert torch.equal(colors.factors, jitter_params.factors)
    assert torch.equal(
        crops.corners, draw_crops(5, 4, make_generator(0, "augmentation"), flip=True).corners
    )
    for step, batch in enumerate(maker.epoch(index, params)):

        def at(values, step=step):
            return values[step]

        sizes = torch.tensor([images.images[k].shape[:2] for k in index[step]])
        boxes = crop_boxes(crops.map(at), sizes).tolist()
        cut = []
        for k, box, flip in zip(index[step], boxes, crops.mirrored[step], strict=True):
            image = image_of(images, k).double() / 255
            image = reference.resized_crop(image, *box, [SIDE, SIDE], antialias=True)
            cut.append(reference.hflip(image) if flip < 0.5 else image)
        expected = normalized(jitter(torch.stack(cut), colors.map(at)))
        torch.testing.assert_close(batch, expected, rtol=0, atol=1e-5)


def test_crops_are_prefetched_in_another_thread():
    images = Memory()
    index = torch.arange(20).view(10, 2)
    maker = VariableSizeBatches(images, SIDE, MEAN, STD)
    batches = maker.epoch(index, maker.draw(10, 2, partial(make_generator, 0)))
    assert images.reads == []
    next(batches)
    maker.reader.submit(int).result()
    assert images.reads == [([0, 1], False), ([2, 3], False), ([4, 5], False)][: PREFETCH + 1]
    assert len(list(batches)) == 9
    assert [index for index, _ in images.reads] == index.tolist()


def test_an_epoch_can_begin_at_a_later_step():
    images, index = Memory(), torch.arange(20).view(10, 2)
    maker = VariableSizeBatches(images, SIDE, MEAN, STD, flip=True, jitter=0.4)
    params = maker.draw(10, 2, partial(make_generator, 0))
    whole = list(maker.epoch(index, params))
    images.reads.clear()
    rest = list(maker.epoch(index, params, first=7))
    assert all(torch.equal(*pair) for pair in zip(rest, whole[7:], strict=True))
    assert [index for index, _ in images.reads] == index[7:].tolist()


def test_a_bad_image_stops_the_step_that_needs_it(listed):
    spec, raw = listed
    (raw.files["train"].root / raw.files["train"].paths[2]).write_bytes(b"")
    data = DataModule(spec, "longtailed", recipe_of(), seed=0, raw=raw)
    with raises(DataError, "bad-images", raw.files["train"].paths[2]):
        epoch_of(data)


def recipe_of(**changes):
    return Recipe(**load_recipe("digits").model_dump() | resized_recipe(**changes))


def epoch_of(data, epoch=0):
    return list(data.epoch(epoch))


@pytest.mark.parametrize("split", ["longtailed", "balanced"])
def test_a_cache_changes_no_batch(listed, split):
    spec, raw = listed
    data = DataModule(spec, split, recipe_of(), seed=3, raw=raw)
    plain = [epoch_of(data), list(data.test_dataloader()), list(data.statistics_batches())]
    build_cache(spec, raw, 12)
    data = DataModule(spec, split, recipe_of(), seed=3, raw=raw)
    cached = [epoch_of(data), list(data.test_dataloader()), list(data.statistics_batches())]
    for ours, theirs in zip(plain, cached, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
            assert torch.equal(one.index, other.index)


def test_batches_of_listed_images(listed):
    spec, raw = listed
    data = DataModule(spec, "longtailed", recipe_of(), seed=0, raw=raw)
    assert data.counts.tolist() == [6, 2, 1]
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    assert [len(batch) for batch in first] == [4, 4]
    assert first[0].images.shape == (4, 3, 8, 8)
    assert not torch.equal(first[0].index, second[0].index)
    again = epoch_of(DataModule(spec, "longtailed", recipe_of(), seed=0, raw=raw), 1)
    assert all(torch.equal(a.images, b.images) for a, b in zip(second, again, strict=True))
    plain = DataModule(spec, "longtailed", recipe_of(color_jitter=0), seed=0, raw=raw)
    assert torch.equal(epoch_of(plain)[0].index, first[0].index)
    assert not torch.equal(epoch_of(plain)[0].images, first[0].images)
    data.views = ("recipe", "recipe")
    (batch, _) = epoch_of(data)
    assert torch.equal(batch.images[0], first[0].images)
    assert not torch.equal(batch.images[0], batch.images[1])
    assert [len(b) for b in data.test_dataloader()] == [4, 2]


def test_color_jitter_differs_by_epoch_seed_and_view(listed, tmp_path):
    """Of images in one color nothing shows but what was drawn."""
    spec, raw = listed
    Image.new("RGB", (20, 20), (200, 100, 50)).save(tmp_path / "one.png")
    files = FileImages(tmp_path, ("one.png",) * len(raw.train_labels), 3)
    raw = replace(raw, train_images=files)

    def first(epoch=0, seed=0):
        data = DataModule(spec, "longtailed", recipe_of(), seed=seed, raw=raw)
        data.views = ("recipe", "recipe")
        return [*epoch_of(data, epoch)[0].images]

    drawn = [*first(), *first(epoch=1), *first(seed=1)]
    assert torch.equal(first()[0], drawn[0])
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in combinations(drawn, 2))


def test_views_of_test_images_are_cropped_as_in_training(listed):
    spec, raw = listed
    data = DataModule(spec, "longtailed", recipe_of(), seed=0, raw=raw)
    index = torch.tensor([0, 3, 5])
    views = data.test_views(index, "some")
    (first,), (second,) = views, views
    assert first.shape == (2, 3, 3, 8, 8)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
    (again,) = data.test_views(index, "some")
    assert torch.equal(again, first)


def test_a_policy_follows_crop_and_color_jitter(listed):
    spec, raw = listed
    black = {"kind": "none", "cutout": 4}
    plain, holed = (
        epoch_of(DataModule(spec, "longtailed", recipe, seed=0, raw=raw))[0].images
        for recipe in (recipe_of(), recipe_of(policy=black))
    )
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (spec.normalization.mean, spec.normalization.std)
    )
    pixels, left = (255 * (images * std + mean) for images in (plain, holed))
    hole = left.abs() < 1e-3
    assert 0 < hole.float().mean() < 1
    assert ((left - pixels).abs() < 0.51)[~hole].all()


def test_auxiliary_images_are_read_from_their_files(listed):
    spec, raw = listed
    spec = spec.model_copy(update={"auxiliary": spec.auxiliary_or_default})
    data = DataModule(spec, "longtailed", recipe_of(), seed=0, raw=raw)
    (batch,) = data.auxiliary_batches()
    assert batch.images.shape == (3, 3, 8, 8)
    assert batch.labels.tolist() == [0, 1, 2]


def test_open_set_images_are_processed_as_test_images(listed):
    spec, raw = listed
    raw = replace(raw, val_images=raw.test_images, val_labels=raw.test_labels)
    spec = spec.model_copy(update={"auxiliary": spec.auxiliary_or_default})
    data = DataModule(spec, "longtailed", recipe_of(jpeg_quality=10), seed=0, raw=raw)
    loaders = (data.test_dataloader(), data.auxiliary_batches(), data.open_set_batches(raw))
    for test, auxiliary, unknown in zip(*loaders, strict=True):
        assert torch.equal(auxiliary.images, test.images)
        assert torch.equal(unknown.images, test.images)


def test_recipes_that_do_not_fit_the_images_are_rejected(listed, digits):
    spec, raw = listed
    with raises(DataError, "conflict", "any size", "digits"):
        DataModule(spec, "longtailed", load_recipe("digits"), seed=0, raw=raw)
    with raises(DataError, "conflict", "one size", "digits"):
        DataModule(digits, "longtailed", recipe_of(), seed=0)


def take_part(rank, spec, raw, folder):
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    data = DataModule(spec, "longtailed", recipe_of(), seed=0, raw=raw)
    torch.save([(b.index, b.images) for b in epoch_of(data, 1)], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_share_the_global_draws(listed, tmp_path):
    spec, raw = listed
    arguments = (spec, raw, tmp_path)
    mp.start_processes(take_part, arguments, nprocs=2, start_method="fork")
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    whole = epoch_of(DataModule(spec, "longtailed", recipe_of(), seed=0, raw=raw), 1)
    for step, batch in enumerate(whole):
        index, images = (torch.cat(v) for v in zip(*(p[step] for p in parts), strict=True))
        assert torch.equal(index, batch.index)
        torch.testing.assert_close(images, batch.images, rtol=0, atol=1e-6)
