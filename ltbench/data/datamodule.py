"""The one LightningDataModule: batches of a split, from bytes that stay on the device."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from ltbench.augment import (
    PolicyEpoch,
    ResidentImages,
    draw_crops,
    draw_jitter,
    draw_placement,
    draw_policy,
)
from ltbench.config.models import DatasetSpec, Job, Recipe, Split
from ltbench.core.batch import Batch
from ltbench.core.distributed import rank, world_size
from ltbench.core.groups import subset_classes
from ltbench.core.nouns import Subset
from ltbench.core.streams import stream
from ltbench.data.errors import DataError, printable
from ltbench.data.image_cache import open_images
from ltbench.data.image_store import ImageStore
from ltbench.data.loader import EpochLoader, OrderedLoader, Step, shard
from ltbench.data.open_set import load_open_set
from ltbench.data.ordered import in_order, normalised, uncached
from ltbench.data.pool import ImageFiles, Images, Labels, Pool
from ltbench.data.sources import load_pool
from ltbench.data.split import make_split, split_name
from ltbench.data.streamed import Stored, StreamedImages
from ltbench.data.views import Views
from ltbench.samplers import draw_epoch, rank_columns


class DataModule(pl.LightningDataModule):
    """Training and test batches of one split of a dataset.

    Images are read and the split is made at once; the bytes move to the device with the first
    batch. Every random draw of an epoch is made for the global batch, on the CPU, from streams
    named after the seed, the purpose and the epoch; ranks take equal columns of it.

    Args:
        spec: the dataset.
        split: the long-tailed split or its balanced twin.
        recipe: batch, augmentation, precision and memory format.
        seed: of the training.
        subset: classes to train on; the test always has all of them.
        epochs: of the stage, for samplers that change with its progress.
        data_root: folder of all datasets.
        device: where batches are made, unless a Trainer says so.
        pool: the dataset's images, where they are at hand already.

    Attributes:
        samplers: asked at the start of each epoch for the names of the samplers to draw from; two
            names make each step a dict of batches.
        views: independently augmented views of each image; with two, images are [2, B, C, H, W].
        steps_done: steps of the first epoch to come that were taken before.
        on_batch: called before every batch but those trained on; what it raises ends the loop.
        classes: [K] int64, the classes of the subset; training labels are positions in it.
        counts: [K] int64, training images of each.
        train_counts: [C], those of all classes.
        longtailed_counts: [C] int64, those of the long-tailed split.
        class_names: [C] as the source calls the classes, made printable.
        training_fingerprint: of the dataset without its test images, where that was measured.
        train_hash: hash of the training images' positions in the pool.
        test_hash: hash of the test labels in order.
        auxiliary: the images set apart for choices; None where the job has none.
        open_set: images of a dataset without its classes, where a job's dataset names one.

    Raises:
        DataError: when the images or the split cannot be had, are others than those that the
            dataset is planned with, or are fewer than a batch.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        split: Split,
        recipe: Recipe,
        *,
        seed: int,
        subset: Subset = "all",
        epochs: int = 1,
        data_root: str | Path | None = None,
        device: torch.device | str = "cpu",
        pool: Pool | None = None,
    ) -> None:
        super().__init__()
        # A rank may get no image of a tiny test set.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.spec, self.split, self.recipe = spec, split, recipe
        self.seed, self.epochs = seed, epochs
        self.given_device = torch.device(device)
        self.samplers: Callable[[], tuple[str, ...]] = lambda: ("instance",)
        self.views = 1
        self.steps_done = 0
        self.on_batch: Callable[[], object] = lambda: None

        pool = pool or load_pool(spec, data_root)
        threads = torch.get_num_threads()
        pool, stores = open_images(spec, pool, recipe, threads)
        chosen = make_split(spec, pool, split, subset)
        if recipe.batch > len(chosen.train):
            raise DataError(
                f"a batch of {recipe.batch} does not fit the {len(chosen.train)} training images "
                f"of {split_name(spec, split, subset)}",
                "batch-too-large",
            )
        self.classes, self.train_counts = torch.tensor(chosen.classes), chosen.counts
        self.counts = torch.tensor(chosen.counts)[self.classes]
        self.longtailed_counts = torch.tensor(chosen.longtailed_counts)
        self.training_fingerprint = pool.training or pool.fingerprint
        self.train_hash, self.test_hash = chosen.train_hash, chosen.test_hash
        self.auxiliary = chosen.auxiliary
        self.class_names = tuple(printable(name) for name in pool.class_names)
        labels = torch.from_numpy(pool.train_labels[chosen.train])
        self.labels = torch.searchsorted(self.classes, labels)  # [N], on the CPU
        self.test_labels = torch.from_numpy(pool.test_labels)
        every = np.arange(len(self.test_labels))
        self._train_source = _source(pool.train_images, chosen.train, stores.get("train"))
        self._test_source = _source(pool.test_images, every, stores.get("test"))
        self._features: Tensor | None = None
        self.open_set: Pool | None = None

    @classmethod
    def of_job(
        cls, job: Job, data_root: str | Path | None, device: torch.device | str = "cpu"
    ) -> Self:
        """Return the data that a job trains and is tested on."""
        data = cls(
            job.dataset,
            job.split,
            job.recipe,
            seed=job.seed,
            subset=job.subset,
            epochs=job.stage_recipe.epochs if job.stage_recipe else 1,
            data_root=data_root,
            device=device,
        )
        if job.subset == "all":
            data.open_set = load_open_set(job.dataset, data_root)
        return data

    def classes_of(self, subset: Subset) -> Tensor:
        """Return the classes [K] of a subset; none for an empty group."""
        counts, rule = self.longtailed_counts.tolist(), self.spec.groups
        return torch.tensor(subset_classes(subset, counts, rule), dtype=torch.int64)

    @property
    def device(self) -> torch.device:
        """Where batches are made: the Trainer's device, else the one given."""
        return self.trainer.strategy.root_device if self.trainer else self.given_device

    @property
    def steps_per_epoch(self) -> int:
        """Optimisation steps of an epoch: full global batches."""
        return len(self.labels) // self.recipe.batch

    def train_dataloader(self) -> EpochLoader:
        """Return the loader of this rank's training batches."""
        return EpochLoader(self._begin_epoch, self.steps_per_epoch, done=self.steps_done)

    def test_dataloader(self) -> OrderedLoader:
        """Return the loader of this rank's contiguous share of the test images, unpadded."""
        return self.test_batches(torch.arange(len(self.test_labels)))

    def test_batches(self, index: Tensor) -> OrderedLoader:
        """Return the loader of this rank's contiguous share of chosen test images, unpadded.

        Args:
            index: [N] their positions in the test set.
        """
        span = shard(len(index), rank(), world_size())
        return self._in_order(self._test_images, self.test_labels, span, index)

    def open_batches(self, pool: Pool) -> OrderedLoader:
        """Return the loader of this rank's share of another dataset's test images, as its own.

        Labels are -1.
        """
        unknown = torch.full((len(pool.test_labels),), -1)
        images = uncached(pool.test_images, self.spec, self.recipe, self.device)
        return self._in_order(images, unknown, shard(len(unknown), rank(), world_size()))

    def test_views(self, index: Tensor, name: str) -> Views:
        """Return unlabelled views of chosen test images, the same on every rank.

        Args:
            index: [N] their positions in the test set.
            name: of what they are drawn for.
        """
        return Views(
            self._normalised(self._test_source[index], self.recipe.padding),
            len(index),
            coloured=self.spec.channels == 3,
            mirrors=self.recipe.mirrors,
            device=self.device,
            seed=self.seed,
            name=name,
            on_batch=self.on_batch,
        )

    def observe_batches(self) -> OrderedLoader:
        """Return the loader of all training images in order, as the test sees images.

        Every rank goes through all of them, so that what a method observes is equal on all ranks.
        """
        return self._in_order(self._train_images, self.labels)

    def cache_features(self, backbone: Callable[[Tensor], Tensor]) -> None:
        """Let training batches hold features of the images, unaugmented, from now on.

        They are [B, D], or [B, E, D] of a backbone of E experts, whose features are [E, B, D].
        """
        seen = [backbone(batch.images).movedim(-2, 0) for batch in self.observe_batches()]
        self._features = torch.cat(seen)

    def auxiliary_batches(self) -> OrderedLoader:
        """Return the loader of all auxiliary images in order, as the test sees images.

        Every rank goes through all of them, so that what a method chooses is equal on all ranks.

        Raises:
            DataError: where the job has none.
        """
        if self.auxiliary is None:
            raise DataError(f"{self.spec.id}: this job has no auxiliary images", "missing-data")
        labels = torch.from_numpy(self.auxiliary.labels)
        images = uncached(self.auxiliary.images, self.spec, self.recipe, self.device)
        return self._in_order(images, labels)

    def transfer_batch_to_device(
        self,
        batch: Any,
        device: torch.device,  # noqa: ARG002 - Lightning's signature
        dataloader_idx: int,  # noqa: ARG002
    ) -> Any:
        """Return the batch: it was made on the device."""
        return batch

    @cached_property
    def _train_images(self) -> ResidentImages | StreamedImages:
        return self._normalised(self._train_source, self.recipe.padding)

    @cached_property
    def _test_images(self) -> ResidentImages | StreamedImages:
        return self._normalised(self._test_source)

    def _normalised(
        self, source: Tensor | Stored, padding: int = 0
    ) -> ResidentImages | StreamedImages:
        return normalised(source, self.spec, self.recipe, self.device, padding)

    def _in_order(
        self,
        images: ResidentImages | StreamedImages,
        labels: Tensor,
        span: range | None = None,
        index: Tensor | None = None,
    ) -> OrderedLoader:
        recipe, device, called = self.recipe, self.device, self.on_batch
        return in_order(images, labels, recipe, device, span=span, index=index, on_batch=called)

    def _begin_epoch(self, epoch: int) -> Callable[[int], Step]:
        names = self.samplers()
        draws = {name: self._draw(name, place, epoch) for place, name in enumerate(names)}
        if len(names) == 1:
            return draws[names[0]]
        return lambda step: {name: assemble(step) for name, assemble in draws.items()}

    def _draw(self, sampler: str, place: int, epoch: int) -> Callable[[int], Batch]:
        """Draw an epoch of a step's `place`-th sampler; return what assembles its batches."""
        batch, sampling = self.recipe.batch, stream(self.seed, "sampling", sampler, epoch)
        drawn = draw_epoch(sampler, self.labels, epoch, self.epochs, batch, sampling)
        mine = self._columns(drawn)  # [steps, B of this rank]
        views = [self._view(mine, place, view, epoch) for view in range(self.views)]
        index, labels = mine.to(self.device), self.labels.to(self.device)

        def assemble(step: int) -> Batch:
            here = index[step]
            if self._features is not None:
                return Batch(self._features[here], labels[here], here)
            images = [view(step) for view in views]
            return Batch(images[0] if len(images) == 1 else torch.stack(images), labels[here], here)

        return assemble

    def _view(self, index: Tensor, place: int, view: int, epoch: int) -> Callable[[int], Tensor]:
        """Draw a view of an epoch's images [steps, B]; return what makes those of a step."""
        recipe, images, steps = self.recipe, self._train_images, self.steps_per_epoch
        augmentation = stream(self.seed, "augmentation", epoch, place, view)
        policy = self._draw_policy(place, view, epoch)
        if isinstance(images, StreamedImages):
            crops = draw_crops(steps, recipe.batch, augmentation, flip=recipe.mirrors)
            colours = None
            if recipe.colour_jitter:
                changes = stream(self.seed, "colour", epoch, place, view)
                drawn = draw_jitter(steps, recipe.batch, recipe.colour_jitter, changes)
                colours = drawn.map(self._columns)
            return images.epoch(index, crops.map(self._columns), colours, policy)
        cuts = draw_placement(
            steps, recipe.batch, images.padding, augmentation, flip=recipe.mirrors
        ).map(lambda values: self._columns(values).to(self.device))
        there = index.to(self.device)

        def make(step: int) -> Tensor:
            cut = cuts.map(lambda values: values[step])
            return images(there[step], cut, None if policy is None else partial(policy, step))

        return make

    def _draw_policy(self, place: int, view: int, epoch: int) -> PolicyEpoch | None:
        """Return what applies an epoch's policy to this rank's images, None where there is none."""
        policy = self.recipe.policy
        if policy.kind == "none" and not policy.cutout:
            return None
        draws = draw_policy(
            policy.kind,
            self.steps_per_epoch,
            self.recipe.batch,
            (self.spec.image_size, self.spec.image_size),
            stream(self.seed, "policy", epoch, place, view),
            count=policy.count,
            magnitude=policy.magnitude,
            cutout=policy.cutout > 0,
        )
        return PolicyEpoch(draws.map(self._columns), policy.cutout, self.device)

    @staticmethod
    def _columns(draws: Tensor) -> Tensor:
        """Return this rank's columns of global draws [steps, B, ...]."""
        return rank_columns(draws, rank(), world_size())


def _source(
    images: Images | ImageFiles, positions: Labels, store: ImageStore | None
) -> Tensor | Stored:
    """Return the images at some positions: their bytes, or what they are read from."""
    if isinstance(images, ImageFiles):
        if store is None:
            raise DataError("images in files are read from a store", "mismatch")
        return Stored(store, positions)
    return torch.from_numpy(images[positions])
