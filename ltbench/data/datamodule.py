"""The LightningDataModule: training and test batches of a split.

Batches are made on the device.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Generator, Tensor

from ltbench.config.dataset import DatasetSpec, Split
from ltbench.config.job import Job
from ltbench.config.recipe import Recipe
from ltbench.core.batch import Batch, StepInput
from ltbench.core.distributed import rank, world_size
from ltbench.core.groups import subset_classes
from ltbench.core.seeding import make_generator
from ltbench.core.types import ClassSubset, ViewKind
from ltbench.data.augmented_view import augmented_view, local_columns
from ltbench.data.batch_maker import BatchMaker, batch_maker
from ltbench.data.errors import DataError, printable
from ltbench.data.images import Images
from ltbench.data.loaders import ChunkedEpochs, OrderedLoader, rank_slice
from ltbench.data.open_set import load_open_set
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import open_split, require_auxiliary_classes
from ltbench.data.tta_views import TTAViews
from ltbench.samplers import EpochDraw, class_aware, require_indices

AUXILIARY = "auxiliary"
"""Name of the stream of auxiliary images."""


@dataclass
class _Source:
    """Images that streams draw from.

    Attributes:
        maker: of their batches.
        labels: [N], on the CPU.
        features: cached features, in place of the images.
    """

    maker: BatchMaker[Any]
    labels: Tensor
    features: Tensor | None = None


class DataModule(pl.LightningDataModule):
    """Training and test batches of one split of a dataset.

    The constructor loads the images and makes the split; the pixels move to the device with the
    first batch. All random numbers of an epoch are drawn for the global batch, on the CPU, from
    generators seeded by seed, purpose and epoch; ranks take equal columns.

    Args:
        spec: the dataset.
        split: the long-tailed split or its balanced counterpart.
        recipe: batch size, augmentation, precision and memory format.
        seed: of the training.
        subset: classes to train on; the test set always has all of them.
        epochs: of the stage, for samplers that depend on progress.
        data_root: folder of all datasets.
        device: of the batches, unless a Trainer sets it.
        raw: the dataset's images, if they are loaded already.

    Attributes:
        epoch_indices: returns the training images of an epoch by stream, as
            `Method.epoch_indices`; with several streams each step is a dict of batches.
        has_auxiliary_stream: whether steps also have a batch "auxiliary" (see `Stage`).
        views: kinds of the independently augmented views of each image; with two, images are
            [2, B, C, H, W].
        steps_done: steps of the next epoch taken before an interruption.
        on_batch: called before every batch except training batches; its exceptions end the loop.
        classes: [K] int64, the classes of the subset; training labels are indices into it.
        counts: [K] int64, training images of each.
        train_counts: [C], training images of all classes.
        longtailed_counts: [C] int64, class counts of the long-tailed split.
        class_names: [C] names of the source, made printable.
        training_fingerprint: of the dataset without its test images, if it was measured, else of
            all images.
        train_hash: of the training images' positions in the raw dataset.
        test_hash: of the test labels in order.
        train_images, test_images: of the split, as the dataset's `tested_on` says.
        auxiliary, auxiliary_hash: the auxiliary images; None if the job has none.
        open_set: the open-set dataset, if the job's dataset names one.

    Raises:
        DataError: if the images cannot be loaded, the split cannot be made or is smaller than a
            batch, or the images are not those that the dataset is planned with.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        split: Split,
        recipe: Recipe,
        *,
        seed: int,
        subset: ClassSubset = "all",
        epochs: int = 1,
        data_root: str | Path | None = None,
        device: torch.device | str = "cpu",
        raw: RawDataset | None = None,
    ) -> None:
        super().__init__()
        # A rank may have no image of a tiny test set.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.spec, self.split, self.recipe = spec, split, recipe
        self.seed, self.epochs = seed, epochs
        self.given_device = torch.device(device)
        self.epoch_indices: Callable[[EpochDraw], Mapping[str, Tensor]] = lambda draw: {
            "instance": draw.sampler("instance")
        }
        self.has_auxiliary_stream = False
        self.views: tuple[ViewKind, ...] = ("recipe",)
        self.steps_done = 0
        self.on_batch: Callable[[], object] = lambda: None

        raw = raw or load_raw_dataset(spec, data_root)
        raw, indices = open_split(spec, raw, recipe, split, subset, torch.get_num_threads())
        self.classes, self.train_counts = torch.tensor(indices.classes), indices.counts
        self.counts = torch.tensor(indices.counts)[self.classes]
        self.longtailed_counts = torch.tensor(indices.longtailed_counts)
        self.training_fingerprint = raw.training or raw.fingerprint
        self.train_hash, self.test_hash = indices.train_hash, indices.test_hash
        self.auxiliary, self.auxiliary_hash = indices.auxiliary, indices.auxiliary_hash
        self.class_names = tuple(printable(name) for name in raw.class_names)
        labels = torch.from_numpy(raw.train_labels[indices.train])
        self.labels = torch.searchsorted(self.classes, labels)  # [N], on the CPU
        self.test_labels = torch.from_numpy(indices.test.labels)
        self.train_images = raw.train_images[indices.train]
        self.test_images = indices.test.images
        self.open_set: RawDataset | None = None

    @classmethod
    def of_job(
        cls, job: Job, data_root: str | Path | None, device: torch.device | str = "cpu"
    ) -> Self:
        """Return the data of a job: training, test, auxiliary and open-set images."""
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

    def classes_of(self, subset: ClassSubset) -> Tensor:
        """Return the classes [K] of a subset, none for an empty group."""
        counts, rule = self.longtailed_counts.tolist(), self.spec.shot_rule
        return torch.tensor(subset_classes(subset, counts, rule), dtype=torch.int64)

    @property
    def device(self) -> torch.device:
        """Device of the batches: the Trainer's, else the given one."""
        return self.trainer.strategy.root_device if self.trainer else self.given_device

    @property
    def steps_per_epoch(self) -> int:
        """Optimization steps of an epoch; an incomplete batch is dropped."""
        return len(self.labels) // self.recipe.batch_size

    def train_dataloader(self) -> ChunkedEpochs:
        """Return the training epochs of this rank in chunks of steps."""

        def number() -> int:
            return self.trainer.current_epoch if self.trainer else 0

        return ChunkedEpochs(self.epoch, number, self.steps_per_epoch, done=self.steps_done)

    def epoch(self, number: int, first: int = 0) -> Iterator[StepInput]:
        """Yield an epoch's training steps: one batch, or a dict by stream.

        Args:
            number: epochs completed, from 0.
            first: step to begin with.

        Raises:
            DataError: if there is an auxiliary stream, and a class without auxiliary images.
            ValueError: for images that are not [steps, n] positions in the training set.
        """
        draw = EpochDraw(self.labels, number, self.epochs, self.recipe.batch_size, self.seed)
        streams = dict(self.epoch_indices(draw))
        require_indices(streams, draw)
        sources = dict.fromkeys(streams, self._train)
        if self.has_auxiliary_stream:
            sources[AUXILIARY], streams[AUXILIARY] = self._auxiliary, self._auxiliary_indices(draw)
        batches = [
            self._batches(sources[name], index, slot, number, first)
            for slot, (name, index) in enumerate(streams.items())
        ]
        if len(batches) == 1:
            yield from batches[0]
            return
        for step in zip(*batches, strict=True):
            yield dict(zip(streams, step, strict=True))

    def _auxiliary_indices(self, draw: EpochDraw) -> Tensor:
        """Return the auxiliary images of an epoch, [steps, B] positions among them."""
        labels, generator = self._auxiliary.labels, draw.generator(AUXILIARY)
        counts = torch.bincount(labels, minlength=len(self.classes)).tolist()
        require_auxiliary_classes(self.spec, self.split, counts)
        return class_aware(labels, draw.steps * draw.batch, generator).view(draw.steps, draw.batch)

    def _batches(
        self, source: _Source, index: Tensor, slot: int, epoch: int, first: int
    ) -> Iterator[Batch]:
        """Yield an epoch's batches of one stream.

        Args:
            source: of the images.
            index: [steps, n] positions of the images of global batches.
            slot: its position among the epoch's streams.
            epoch: epochs completed.
            first: step to begin with.
        """
        spec, recipe, maker = self.spec, self.recipe, source.maker
        labels = source.labels.to(self.device)
        views = [
            augmented_view(
                maker, index, spec, recipe, self._generators(epoch, slot, view), kind, first
            )
            for view, kind in enumerate(self.views)
        ]
        for rows in local_columns(index)[first:].to(self.device):
            if source.features is not None:
                images = source.features[rows]
            else:
                augmented = [next(view) for view in views]
                images = augmented[0] if len(augmented) == 1 else torch.stack(augmented)
            yield Batch(images, labels[rows], rows)

    def _generators(self, epoch: int, slot: int, view: int) -> Callable[[str], Generator]:
        """Return a function from purposes to the generators of a view."""
        return lambda purpose: make_generator(self.seed, purpose, epoch, slot, view)

    def cache_features(self, backbone: Callable[[Tensor], Tensor]) -> None:
        """Replace the images of all streams by cached backbone features.

        The features are those of the unaugmented images: [B, D], or [B, E, D] from a backbone of E
        experts, which returns [E, B, D].
        """
        sources = [self._train, self._auxiliary] if self.has_auxiliary_stream else [self._train]
        for source in sources:
            batches = self._in_order(source.maker, source.labels)
            source.features = torch.cat([backbone(b.images).movedim(-2, 0) for b in batches])

    def statistics_batches(self) -> OrderedLoader:
        """Return the loader of all training images in order, not augmented.

        Every rank reads all of them, so that the statistics of a method are equal on all ranks.
        """
        return self._in_order(self._train.maker, self.labels)

    def training_batches(self) -> OrderedLoader:
        """Return the loader of this rank's training images in order, not augmented.

        The share is contiguous; labels are classes of the dataset.
        """
        span = rank_slice(len(self.labels), rank(), world_size())
        return self._in_order(self._train.maker, self.classes[self.labels], span=span)

    def auxiliary_batches(self) -> OrderedLoader:
        """Return the loader of all auxiliary images in order, not augmented.

        Every rank reads all of them, so that the choices of a method are equal on all ranks.

        Raises:
            DataError: if the job has none.
        """
        return self._in_order(self._auxiliary.maker, self._auxiliary.labels)

    def test_dataloader(self) -> OrderedLoader:
        """Return the loader of this rank's contiguous, unpadded share of the test."""
        return self.test_batches(torch.arange(len(self.test_labels)))

    def test_batches(self, index: Tensor) -> OrderedLoader:
        """Return the loader of this rank's contiguous, unpadded share of test images.

        Args:
            index: [N] positions in the test set.
        """
        span = rank_slice(len(index), rank(), world_size())
        return self._in_order(self._test_maker, self.test_labels, index=index, span=span)

    def open_set_batches(self, raw: RawDataset) -> OrderedLoader:
        """Return the loader of this rank's share of an open set.

        They are resized and normalized as the dataset's own; labels are -1.
        """
        unknown = torch.full((len(raw.test_labels),), -1)
        span = rank_slice(len(unknown), rank(), world_size())
        return self._in_order(self._maker(raw.test_images), unknown, span=span)

    def test_views(self, index: Tensor, name: str) -> TTAViews:
        """Return augmented views of test images without labels, equal on every rank.

        Args:
            index: [N] positions in the test set.
            name: of the random stream.
        """
        return TTAViews(
            self._maker(self.test_images[index.numpy()], padding=self.recipe.padding),
            len(index),
            colored=self.spec.channels == 3,
            seed=self.seed,
            name=name,
            on_batch=self.on_batch,
        )

    @cached_property
    def _train(self) -> _Source:
        return _Source(self._augmenting(self.train_images), self.labels)

    @cached_property
    def _auxiliary(self) -> _Source:
        if self.auxiliary is None:
            raise DataError(f"{self.spec.id}: this job has no auxiliary images", "missing-data")
        images, labels = self.auxiliary.images, torch.from_numpy(self.auxiliary.labels)
        if len(self.classes) < self.spec.classes:
            own = np.isin(self.auxiliary.labels, self.classes)
            images, labels = images[own.nonzero()[0]], labels[own]
        return _Source(self._augmenting(images), torch.searchsorted(self.classes, labels))

    def _augmenting(self, images: Images) -> BatchMaker[Any]:
        recipe = self.recipe
        return self._maker(images, padding=recipe.padding, jitter=recipe.color_jitter)

    @cached_property
    def _test_maker(self) -> BatchMaker[Any]:
        return self._maker(self.test_images)

    def _maker(self, images: Images, *, padding: int = 0, jitter: float = 0.0) -> BatchMaker[Any]:
        return batch_maker(
            images, self.spec, self.recipe, self.device, padding=padding, jitter=jitter
        )

    def _in_order(
        self,
        maker: BatchMaker[Any],
        labels: Tensor,
        *,
        index: Tensor | None = None,
        span: range | None = None,
    ) -> OrderedLoader:
        batch = self.recipe.test_batch_size(on_gpu=self.device.type == "cuda")
        return OrderedLoader(maker, labels, batch, index=index, span=span, on_batch=self.on_batch)

    def transfer_batch_to_device(
        self,
        batch: Any,
        device: torch.device,  # noqa: ARG002 - Lightning's signature
        dataloader_idx: int,  # noqa: ARG002
    ) -> Any:
        """Return the batch, which is on the device already."""
        return batch
