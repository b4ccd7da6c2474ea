from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed as dist
from torch import multiprocessing as mp

from ltbench.config.recipe import Policy
from ltbench.data.datamodule import DataModule
from ltbench.data.errors import DataError
from ltbench.data.images import InMemoryImages
from ltbench.data.loaders import ChunkedEpochs, rank_slice
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import make_split
from tests.support.errors import raises


@pytest.fixture
def make_data(digits, make_recipe):
    def make(split="longtailed", seed=0, subset="all", **changes):
        how = make_recipe(**changes)
        return DataModule(digits, split, how, seed=seed, subset=subset, epochs=3)

    return make


def sampled(*names):
    """Return an `epoch_indices` of samplers."""
    return lambda draw: {name: draw.sampler(name) for name in names}


def epoch_of(data, epoch=0):
    return list(data.epoch(epoch))


def test_split_facts(make_data, digits):
    data = make_data("balanced")
    split = make_split(digits, load_raw_dataset(digits), "balanced")
    assert data.counts.tolist() == [40] * 10
    assert data.longtailed_counts.tolist() == list(split.longtailed_counts)
    assert (data.train_hash, data.test_hash) == (split.train_hash, split.test_hash)
    assert data.counts.dtype == torch.int64
    assert data.steps_per_epoch == 400 // 32


def test_a_subset_limits_training_but_not_the_test(make_data):
    data = make_data(subset="few", batch_size=8)
    whole = make_data()
    assert data.classes.tolist() == [7, 8, 9]
    assert data.counts.tolist() == [11, 8, 6]
    assert data.train_counts == (0,) * 7 + (11, 8, 6)
    assert data.longtailed_counts.equal(whole.counts)
    assert torch.bincount(data.labels).tolist() == [11, 8, 6]
    assert data.steps_per_epoch == 3
    observed = torch.cat([batch.images for batch in data.statistics_batches()])
    everything = torch.cat([batch.images for batch in whole.statistics_batches()])
    assert observed.equal(everything[whole.labels >= 7])
    assert data.test_labels.equal(whole.test_labels)
    assert whole.classes_of("medium").tolist() == [3, 4, 5, 6]
    with raises(
        DataError, "batch-too-large", 26, "25 training images", "digits_r20 longtailed, few-shot"
    ):
        make_data(subset="few", batch_size=26)


def test_an_epoch_in_chunks(make_data):
    data = make_data(batch_size=16)
    loader = data.train_dataloader()
    chunks = [list(chunk) for chunk in loader]
    assert [len(chunk) for chunk in chunks] == [16, 9]
    assert len(loader) == 2
    batches = [batch for chunk in chunks for batch in chunk]
    index = torch.cat([batch.index for batch in batches])
    assert len(index) == len(index.unique()) == 400
    assert all(torch.equal(batch.labels, data.labels[batch.index]) for batch in batches)
    assert batches[0].images.shape == (16, 1, 8, 8)


def test_labels_and_pixels_belong_together(make_data, digits):
    data = make_data(augment="none")
    raw = load_raw_dataset(digits)
    kept = make_split(digits, raw, "longtailed").train
    batch = epoch_of(data)[0]
    original = torch.from_numpy(raw.train_images.pixels[kept[batch.index]]) / 255
    expected = (original - digits.normalization.mean[0]) / digits.normalization.std[0]
    torch.testing.assert_close(batch.images, expected)
    assert batch.labels.tolist() == raw.train_labels[kept[batch.index]].tolist()


def test_epochs_differ_and_repeat(make_data):
    data = make_data()
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    assert not torch.equal(first[0].index, second[0].index)
    again = epoch_of(make_data(), 1)
    assert all(torch.equal(a.images, b.images) for a, b in zip(second, again, strict=True))
    other = epoch_of(make_data(seed=1), 1)
    assert not torch.equal(second[0].index, other[0].index)


def steps_of(epoch, first, steps):
    yield from ((epoch, step) for step in range(first, steps))


def chunked(steps, **settings):
    epochs = iter(range(5, 100))
    return ChunkedEpochs(partial(steps_of, steps=steps), lambda: next(epochs), steps, **settings)


def test_an_epoch_begins_when_its_first_chunk_is_taken():
    begun = []

    def number():
        begun.append(5)
        return 5

    iterator = iter(ChunkedEpochs(partial(steps_of, steps=3), number, 3, chunk=2))
    assert begun == []
    assert [list(chunk) for chunk in iterator] == [[(5, 0), (5, 1)], [(5, 2)]]
    assert begun == [5]


@pytest.mark.parametrize(
    ("done", "chunks"),
    [
        (0, [[0, 1], [2, 3], [4]]),
        (1, [[1], [2, 3], [4]]),
        (2, [[], [2, 3], [4]]),
        (3, [[], [3], [4]]),
        (5, [[], [], []]),
    ],
)
def test_steps_done_are_skipped_in_the_first_epoch_only(done, chunks):
    loader = chunked(5, chunk=2, done=done)
    assert [[step for _, step in chunk] for chunk in loader] == chunks
    assert [list(chunk) for chunk in loader] == [[(6, 0), (6, 1)], [(6, 2), (6, 3)], [(6, 4)]]
    assert len(loader) == 3


@pytest.mark.parametrize("first", [1, 7, 12])
def test_a_resumed_epoch_equals_the_uninterrupted_one(make_data, first):
    data = make_data(policy=Policy(kind="randaugment"))
    data.epoch_indices, data.views = sampled("instance", "reversed"), ("recipe", "recipe")
    rest = [*data.epoch(1, first)]
    assert len(rest) == data.steps_per_epoch - first
    for ours, whole in zip(rest, [*data.epoch(1)][first:], strict=True):
        for name, batch in whole.items():
            assert torch.equal(ours[name].images, batch.images)
            assert torch.equal(ours[name].index, batch.index)


def test_indices_are_requested_in_each_epoch(make_data):
    data = make_data(batch_size=100)
    names = iter([("instance",), ("class_balanced",), ("instance", "reversed")])
    data.epoch_indices = lambda draw: sampled(*next(names))(draw)
    plain, balanced = epoch_of(data, 0), epoch_of(data, 1)
    assert len(torch.cat([b.index for b in plain]).unique()) == 400
    assert len(torch.cat([b.index for b in balanced]).unique()) < 300
    both = epoch_of(data, 2)
    assert set(both[0]) == {"instance", "reversed"}
    tail = {name: sum(int((step[name].labels >= 5).sum()) for step in both) for name in both[0]}
    assert tail["reversed"] > 2 * tail["instance"]


def test_indices_are_checked_before_the_first_step(make_data):
    data = make_data(batch_size=100)
    data.epoch_indices = lambda draw: {"few": draw.sampler("instance")[:, :4]}
    with pytest.raises(ValueError, match="'few'"):
        epoch_of(data)


def test_samplers_of_a_step_are_independent(make_data):
    data = make_data("balanced")
    data.epoch_indices = sampled("class_balanced", "reversed")  # with equal counts the same
    for step in epoch_of(data):
        assert not torch.equal(step["class_balanced"].index, step["reversed"].index)


@pytest.mark.parametrize(
    "how",
    [{"augment": "crop"}, {"augment": "none", "policy": Policy(cutout=4)}],
    ids=["crops", "holes"],
)
def test_augmentation_differs_by_epoch_seed_sampler_and_view(digits, make_recipe, how):
    """White images differ only by their augmentation."""
    raw = load_raw_dataset(digits)
    raw = replace(raw, train_images=InMemoryImages(np.full_like(raw.train_images.pixels, 255)))

    def first(epoch=0, seed=0):
        data = DataModule(digits, "longtailed", make_recipe(**how), seed=seed, raw=raw)
        data.epoch_indices, data.views = sampled("instance", "reversed"), ("recipe", "recipe")
        step = epoch_of(data, epoch)[0]
        return [*step["instance"].images, *step["reversed"].images]

    drawn = [*first(), *first(epoch=1), *first(seed=1)]
    assert all(torch.equal(a, b) for a, b in zip(first(), drawn, strict=False))
    assert not any(torch.equal(a, b) for a, b in combinations(drawn, 2))


def test_views_are_augmented_independently(make_data):
    data = make_data()
    single = epoch_of(data)[0]
    data.views = ("recipe", "recipe")
    batch = epoch_of(data)[0]
    assert batch.images.shape == (2, 32, 1, 8, 8)
    assert torch.equal(batch.images[0], single.images)
    assert not torch.equal(batch.images[0], batch.images[1])
    assert torch.equal(batch.labels, single.labels)


def test_a_policy_changes_training_images_only(make_data):
    plain, altered = make_data(), make_data(policy=Policy(kind="randaugment"))
    changed = []
    for before, after in zip(epoch_of(plain), epoch_of(altered), strict=True):
        assert torch.equal(before.index, after.index)
        changed.append((before.images != after.images).flatten(1).any(1))
    assert 0.8 < torch.cat(changed).double().mean() < 1
    for loader in ("test_dataloader", "statistics_batches"):
        for before, after in zip(*(getattr(d, loader)() for d in (plain, altered)), strict=True):
            assert torch.equal(before.images, after.images)


def test_a_policy_differs_by_epoch_seed_and_view(make_data):
    policy = Policy(kind="autoaugment_cifar10", cutout=4)
    data = make_data(policy=policy, augment="none")
    first = epoch_of(data)[0].images
    assert torch.equal(first, epoch_of(make_data(policy=policy, augment="none"))[0].images)
    other_layout = make_data(policy=policy, augment="none", channels_last=True)
    assert torch.equal(first, epoch_of(other_layout)[0].images)
    data.views = ("recipe", "recipe")
    both = epoch_of(data)[0].images
    assert torch.equal(both[0], first)
    assert not torch.equal(both[0], both[1])


def test_cutout_is_black_before_normalization(make_data, digits):
    data = make_data(policy=Policy(cutout=4))
    black = -digits.normalization.mean[0] / digits.normalization.std[0]
    plain = epoch_of(make_data())[0].images
    images = epoch_of(data)[0].images
    assert torch.isclose(images[images != plain], torch.tensor(black)).all()
    assert (images != plain).any()


def test_ranks_see_columns_of_one_batch(make_data, monkeypatch):
    policy = Policy(kind="randaugment", cutout=4)
    whole = epoch_of(make_data(policy=policy))[0].images
    monkeypatch.setattr("ltbench.data.augmented_view.world_size", lambda: 4)
    parts = []
    for rank in range(4):
        monkeypatch.setattr("ltbench.data.augmented_view.rank", lambda rank=rank: rank)
        parts.append(epoch_of(make_data(policy=policy))[0].images)
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("fp64", torch.float64), ("bf16", torch.bfloat16)],
)
def test_precision_and_layout(make_data, precision, dtype):
    data = make_data(precision=precision, channels_last=True)
    images = epoch_of(data)[0].images
    assert images.dtype == dtype
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_test_images_come_in_order(make_data, digits):
    data = make_data(eval_batch_size=64)
    batches = list(data.test_dataloader())
    assert [len(batch) for batch in batches] == [64] * 7 + [52]
    assert len(data.test_dataloader()) == 8
    raw = load_raw_dataset(digits)
    assert torch.cat([b.labels for b in batches]).tolist() == raw.test_labels.tolist()
    assert torch.cat([b.index for b in batches]).tolist() == list(range(500))
    mean, std = digits.normalization.mean[0], digits.normalization.std[0]
    expected = (torch.from_numpy(raw.test_images.pixels) / 255 - mean) / std
    torch.testing.assert_close(torch.cat([b.images for b in batches]), expected)


def test_statistics_batches_are_the_training_images_in_order(make_data):
    data = make_data(eval_batch_size=100)
    batches = list(data.statistics_batches())
    assert torch.equal(torch.cat([b.labels for b in batches]), data.labels)
    plain = make_data(augment="none")
    for batch in epoch_of(plain)[:2]:
        seen = torch.cat([b.images for b in batches])[batch.index]
        assert torch.equal(seen, batch.images)


def test_a_batch_larger_than_the_split_is_rejected(make_data):
    with raises(DataError, "batch-too-large", 406, 405):
        make_data(batch_size=406)


@given(count=st.integers(0, 60), world=st.sampled_from([1, 2, 4]))
def test_rank_slices_are_unpadded_and_contiguous(count, world):
    shards = [rank_slice(count, rank, world) for rank in range(world)]
    assert [k for part in shards for k in part] == list(range(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


class Recorder(pl.LightningModule):
    """Notes what Lightning hands it."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.epochs, self.tested = [], []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, chunk, batch_idx):
        self.epochs[-1] += [batch.index for batch in chunk]

    def test_step(self, batch, batch_idx):
        self.tested.append(batch.labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_sees_each_epoch_once_and_all_test_images(make_data):
    data = make_data(batch_size=100)
    module = Recorder()
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=2, **quiet)
    trainer.fit(module, datamodule=data)
    for epoch, seen in enumerate(module.epochs):
        expected = [batch.index for batch in epoch_of(data, epoch)]
        assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))
    trainer.test(module, datamodule=data, verbose=False)
    assert torch.equal(torch.cat(module.tested), data.test_labels)


def take_part(rank, data, folder):
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    train = [(batch.index, batch.images) for batch in epoch_of(data, 1)]
    test = torch.cat([batch.index for batch in data.test_dataloader()])
    seen = torch.cat([batch.index for batch in data.statistics_batches()])
    torch.save({"train": train, "test": test, "seen": seen}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_share_the_global_draws(make_data, tmp_path):
    data = make_data()
    whole = [(batch.index, batch.images) for batch in epoch_of(data, 1)]
    mp.start_processes(take_part, (make_data(), tmp_path), nprocs=2, start_method="fork")
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for step, (index, images) in enumerate(whole):
        joined = [
            torch.cat(values) for values in zip(*(p["train"][step] for p in parts), strict=True)
        ]
        assert torch.equal(joined[0], index)
        assert torch.equal(joined[1], images)
    assert torch.cat([part["test"] for part in parts]).tolist() == list(range(500))
    assert all(part["seen"].tolist() == list(range(405)) for part in parts)


def test_on_batch_is_called_for_all_but_training_batches(make_data):
    data, begun = make_data(eval_batch_size=100), []
    data.on_batch = lambda: begun.append("batch")
    index = torch.arange(250)
    loaders = (data.test_dataloader(), data.statistics_batches(), data.test_batches(index))
    for loader in (*loaders, data.test_views(index, "shift")):
        begun.clear()
        assert sum(1 for _ in loader) == len(begun) > 1
    begun.clear()
    assert sum(1 for _ in data.epoch(0)) > 0
    assert not begun
