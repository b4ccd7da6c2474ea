"""The one LightningDataModule: training and test batches of a split, made on the device."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as pl
import torch
from torch import Generator, Tensor

from ltbench.config.models import DatasetSpec, Job, Recipe, Split
from ltbench.core.batch import Batch
from ltbench.core.distributed import rank, world_size
from ltbench.core.groups import subset_classes
from ltbench.core.seeding import make_generator
from ltbench.core.types import ClassSubset
from ltbench.data.augmented_view import augmented_view, own_columns
from ltbench.data.batch_maker import BatchMaker, batch_maker
from ltbench.data.errors import DataError, printable
from ltbench.data.images import Images
from ltbench.data.loaders import ChunkedEpochs, OrderedLoader, Step, rank_slice
from ltbench.data.open_set import load_open_set
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import open_split
from ltbench.data.tta_views import TTAViews
from ltbench.samplers import draw_epoch


class DataModule(pl.LightningDataModule):
    """Training and test batches of one split of a dataset.

    Images are read and the split is made at once; the bytes move to the device with the first
    batch. Every random draw of an epoch is made for the global batch, on the CPU, from streams
    named after the seed, the purpose and the epoch; ranks take equal columns of it.

    Args:
        spec: the dataset.
        split: the long-tailed split or its balanced counterpart.
        recipe: batch, augmentation, precision and memory format.
        seed: of the training.
        subset: classes to train on; the test always has all of them.
        epochs: of the stage, for samplers that change with its progress.
        data_root: folder of all datasets.
        device: where batches are made, unless a Trainer says so.
        raw: the dataset's images, where they are at hand already.

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
        train_hash: hash of the training images' positions in the raw dataset.
        test_hash: hash of the test labels in order.
        train_images, test_images: of the split.
        auxiliary, auxiliary_hash: the images set apart for choices; None where the job has none.
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
        subset: ClassSubset = "all",
        epochs: int = 1,
        data_root: str | Path | None = None,
        device: torch.device | str = "cpu",
        raw: RawDataset | None = None,
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

        raw = raw or load_raw_dataset(spec, data_root)
        raw, chosen = open_split(spec, raw, recipe, split, subset, torch.get_num_threads())
        self.classes, self.train_counts = torch.tensor(chosen.classes), chosen.counts
        self.counts = torch.tensor(chosen.counts)[self.classes]
        self.longtailed_counts = torch.tensor(chosen.longtailed_counts)
        self.training_fingerprint = raw.training or raw.fingerprint
        self.train_hash, self.test_hash = chosen.train_hash, chosen.test_hash
        self.auxiliary, self.auxiliary_hash = chosen.auxiliary, chosen.auxiliary_hash
        self.class_names = tuple(printable(name) for name in raw.class_names)
        labels = torch.from_numpy(raw.train_labels[chosen.train])
        self.labels = torch.searchsorted(self.classes, labels)  # [N], on the CPU
        self.test_labels = torch.from_numpy(raw.test_labels)
        self.train_images = raw.train_images[chosen.train]
        self.test_images = raw.test_images
        self._features: Tensor | None = None
        self.open_set: RawDataset | None = None

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

    def classes_of(self, subset: ClassSubset) -> Tensor:
        """Return the classes [K] of a subset; none for an empty group."""
        counts, rule = self.longtailed_counts.tolist(), self.spec.shot_rule
        return torch.tensor(subset_classes(subset, counts, rule), dtype=torch.int64)

    @property
    def device(self) -> torch.device:
        """Where batches are made: the Trainer's device, else the one given."""
        return self.trainer.strategy.root_device if self.trainer else self.given_device

    @property
    def steps_per_epoch(self) -> int:
        """Optimisation steps of an epoch: full global batches."""
        return len(self.labels) // self.recipe.batch_size

    def train_dataloader(self) -> ChunkedEpochs:
        """Return the training epochs of this rank, one after the other, in chunks of steps."""

        def number() -> int:
            return self.trainer.current_epoch if self.trainer else 0

        return ChunkedEpochs(self.epoch, number, self.steps_per_epoch, done=self.steps_done)

    def epoch(self, number: int, first: int = 0) -> Iterator[Step]:
        """Yield the steps of a training epoch: a batch each, or one a sampler by its name.

        Args:
            number: epochs completed, from 0.
            first: step to begin with.
        """
        names = self.samplers()
        draws = [self._batches(name, place, number, first) for place, name in enumerate(names)]
        if len(names) == 1:
            yield from draws[0]
            return
        for batches in zip(*draws, strict=True):
            yield dict(zip(names, batches, strict=True))

    def _batches(self, sampler: str, place: int, epoch: int, first: int) -> Iterator[Batch]:
        """Yield an epoch's batches of a step's `place`-th sampler."""
        spec, recipe, maker = self.spec, self.recipe, self._train_maker
        sampling = make_generator(self.seed, "sampling", sampler, epoch)
        drawn = draw_epoch(sampler, self.labels, epoch, self.epochs, recipe.batch_size, sampling)
        index, labels = own_columns(drawn), self.labels.to(self.device)  # [steps, B of this rank]
        streams = [self._streams(epoch, place, view) for view in range(self.views)]
        views = [augmented_view(maker, index, spec, recipe, each, first) for each in streams]
        for here in index[first:].to(self.device):
            if self._features is not None:
                images = self._features[here]
            else:
                made = [next(view) for view in views]
                images = made[0] if len(made) == 1 else torch.stack(made)
            yield Batch(images, labels[here], here)

    def _streams(self, epoch: int, place: int, view: int) -> Callable[[str], Generator]:
        """Return what gives a view's generator for a purpose."""
        return lambda purpose: make_generator(self.seed, purpose, epoch, place, view)

    def cache_features(self, backbone: Callable[[Tensor], Tensor]) -> None:
        """Let training batches hold features of the images, unaugmented, from now on.

        They are [B, D], or [B, E, D] of a backbone of E experts, whose features are [E, B, D].
        """
        seen = [backbone(batch.images).movedim(-2, 0) for batch in self.observe_batches()]
        self._features = torch.cat(seen)

    def observe_batches(self) -> OrderedLoader:
        """Return the loader of all training images in order, as the test sees images.

        Every rank goes through all of them, so that what a method observes is equal on all ranks.
        """
        return self._in_order(self._train_maker, self.labels)

    def training_batches(self) -> OrderedLoader:
        """Return the loader of this rank's contiguous share of the training images, in order.

        They are as the test sees images; their labels are classes of the dataset.
        """
        span = rank_slice(len(self.labels), rank(), world_size())
        return self._in_order(self._train_maker, self.classes[self.labels], span=span)

    def auxiliary_batches(self) -> OrderedLoader:
        """Return the loader of all auxiliary images in order, as the test sees images.

        Every rank goes through all of them, so that what a method chooses is equal on all ranks.

        Raises:
            DataError: where the job has none.
        """
        if self.auxiliary is None:
            raise DataError(f"{self.spec.id}: this job has no auxiliary images", "missing-data")
        labels = torch.from_numpy(self.auxiliary.labels)
        return self._in_order(self._maker(self.auxiliary.images), labels)

    def test_dataloader(self) -> OrderedLoader:
        """Return the loader of this rank's contiguous share of the test images, unpadded."""
        return self.test_batches(torch.arange(len(self.test_labels)))

    def test_batches(self, index: Tensor) -> OrderedLoader:
        """Return the loader of this rank's contiguous share of chosen test images, unpadded.

        Args:
            index: [N] their positions in the test set.
        """
        span = rank_slice(len(index), rank(), world_size())
        return self._in_order(self._test_maker, self.test_labels, index=index, span=span)

    def open_batches(self, raw: RawDataset) -> OrderedLoader:
        """Return the loader of this rank's share of another dataset's test images, as its own.

        Labels are -1.
        """
        unknown = torch.full((len(raw.test_labels),), -1)
        span = rank_slice(len(unknown), rank(), world_size())
        return self._in_order(self._maker(raw.test_images), unknown, span=span)

    def test_views(self, index: Tensor, name: str) -> TTAViews:
        """Return unlabelled views of chosen test images, the same on every rank.

        Args:
            index: [N] their positions in the test set.
            name: of what they are drawn for.
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
    def _train_maker(self) -> BatchMaker[Any]:
        recipe = self.recipe
        return self._maker(self.train_images, padding=recipe.padding, jitter=recipe.color_jitter)

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
        batch, called = (
            self.recipe.test_batch_size(on_gpu=self.device.type == "cuda"),
            self.on_batch,
        )
        return OrderedLoader(maker, labels, batch, index=index, span=span, on_batch=called)

    def transfer_batch_to_device(
        self,
        batch: Any,
        device: torch.device,  # noqa: ARG002 - Lightning's signature
        dataloader_idx: int,  # noqa: ARG002
    ) -> Any:
        """Return the batch: it was made on the device."""
        return batch
