"""The two splits of a dataset, long-tailed and its balanced counterpart, and the images set apart.

Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltbench.config.models import DatasetSpec, Recipe, Split
from ltbench.core.groups import GROUPS, Group, class_groups, subset_classes
from ltbench.core.types import ClassSubset
from ltbench.data.errors import DataError, listed
from ltbench.data.image_cache import open_images
from ltbench.data.imbalance import (
    balanced_counts,
    held_out_counts,
    longtailed_counts,
    planned_groups,
)
from ltbench.data.raw_dataset import EXCLUDED, LabeledImages, RawDataset
from ltbench.data.sources import is_there, load_raw_dataset
from ltbench.data.subsample import Indices, split_hash, subsample


@dataclass(frozen=True)
class SplitIndices:
    """What a job trains and is tested on.

    Attributes:
        train: [N] positions in the raw dataset, ordered by class, or as listed.
        classes: [K] the classes of the subset.
        counts: [C] training images a class, 0 outside the subset.
        longtailed_counts: [C] those of the long-tailed split, from which groups are made.
        train_hash: SHA-256 of `train`; of the list, where there is one.
        test_hash: SHA-256 of the test labels in their order, which is that of the raw dataset.
        auxiliary: what the dataset's `auxiliary` asks for, ordered by class, neither trained nor
            tested on; None where it asks for none.
        auxiliary_hash: SHA-256 of its positions in the raw dataset; of official validation images,
            of their labels in order.
    """

    train: Indices
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    longtailed_counts: tuple[int, ...]
    train_hash: str
    test_hash: str
    auxiliary: LabeledImages | None
    auxiliary_hash: str | None


def make_split(
    spec: DatasetSpec, raw: RawDataset, split: Split, subset: ClassSubset = "all"
) -> SplitIndices:
    """Choose the training images of a split; all test images are always used.

    A subset has the split's own images of the classes of a long-tailed group.

    Raises:
        DataError: when classes have too few images, so that the split, its counterpart or the
            auxiliary images are impossible, or the subset has no classes.
    """
    kept = _keep(spec, raw, split)
    labels = raw.train_labels
    counts = np.bincount(labels[kept], minlength=spec.classes).tolist()
    if empty := [name for name, count in zip(raw.class_names, counts, strict=True) if not count]:
        raise DataError(
            f"{split_name(spec, split)} has no training image of these classes:\n{listed(empty)}",
            "split",
        )
    longtailed = counts if split == "longtailed" else _longtailed_counts(spec, raw)
    classes = subset_classes(subset, longtailed, spec.shot_rule)
    if not classes:
        raise DataError(f"{spec.id} has no {subset}-shot classes", "split")
    train, held_out = kept, kept[:0]
    if any(out := held_out_counts(spec, counts)):
        by_class = kept[np.argsort(labels[kept], kind="stable")]
        train, held_out = _last_of_each(by_class, counts, out)
    if subset != "all":
        train = train[np.isin(labels[train], classes)]
    as_listed = split in raw.predefined and train is kept
    auxiliary, auxiliary_hash = _auxiliary(spec, raw, longtailed, held_out) or (None, None)
    return SplitIndices(
        train=train,
        classes=classes,
        counts=tuple(np.bincount(labels[train], minlength=spec.classes).tolist()),
        longtailed_counts=tuple(longtailed),
        train_hash=raw.predefined[split].hash if as_listed else split_hash(train),
        test_hash=split_hash(raw.test_labels),
        auxiliary=auxiliary,
        auxiliary_hash=auxiliary_hash,
    )


def open_split(
    spec: DatasetSpec,
    raw: RawDataset,
    recipe: Recipe,
    split: Split,
    subset: ClassSubset = "all",
    threads: int = 1,
) -> tuple[RawDataset, SplitIndices]:
    """Return a dataset's images as jobs read them, and a split of them.

    Args:
        spec: the dataset.
        raw: its images.
        recipe: of the jobs.
        split: the long-tailed split or its balanced counterpart.
        subset: classes to train on.
        threads: that decode at once.

    Raises:
        DataError: as of `open_images` and `make_split`, and where the split has fewer images than a
            batch.
    """
    raw = open_images(spec, raw, recipe, threads)
    chosen = make_split(spec, raw, split, subset)
    if recipe.batch_size > len(chosen.train):
        raise DataError(
            f"the batch of {recipe.batch_size} of recipe {recipe.name} does not fit the "
            f"{len(chosen.train)} training images of {split_name(spec, split, subset)}",
            "batch-too-large",
        )
    return raw, chosen


def _longtailed_counts(spec: DatasetSpec, raw: RawDataset) -> list[int]:
    """Return the images of each class in the long-tailed split, nothing held out."""
    labels = raw.train_labels
    if raw.predefined:
        labels = labels[raw.predefined["longtailed"].train]
    counts = np.bincount(labels[labels != EXCLUDED], minlength=spec.classes).tolist()
    return counts if raw.predefined else longtailed_counts(spec, counts)


def _keep(spec: DatasetSpec, raw: RawDataset, split: Split) -> Indices:
    """Return the images of a split before any are held out, as listed or ordered by class."""
    kind = "balanced counterpart" if split == "balanced" else "long-tailed split"
    if split in raw.predefined:
        return raw.predefined[split].train
    if raw.predefined:
        raise DataError(f"{spec.id} has no {kind}: {raw.no_balanced_counterpart}", "split")
    longtailed = _longtailed_counts(spec, raw)
    counts = longtailed if split == "longtailed" else balanced_counts(longtailed)
    try:
        return subsample(raw.train_labels, counts, spec.split_seed)
    except DataError as error:
        raise DataError(f"{spec.id} has no {kind}: {error}", error.code) from None


def _last_of_each(
    positions: Indices, counts: Sequence[int], last: Sequence[int]
) -> tuple[Indices, Indices]:
    """Divide positions, `counts` of each class, into the `last` ones of each class and the rest."""
    place = np.concatenate([np.arange(n) for n in counts])
    late = place >= np.repeat(np.subtract(counts, last), counts)
    return positions[~late], positions[late]


def _auxiliary(
    spec: DatasetSpec, raw: RawDataset, longtailed: Sequence[int], held_out: Indices
) -> tuple[LabeledImages, str] | None:
    """Return the auxiliary images and their hash.

    They are the same in both splits unless they are held out of each.

    Raises:
        DataError: where there are none, or too few.
    """
    if spec.auxiliary is None:
        return None
    if spec.auxiliary.source == "official_val":
        if raw.val_images is None or raw.val_labels is None:
            raise DataError(f"{spec.id} has no validation images", "missing-data")
        return LabeledImages(raw.val_images, raw.val_labels), split_hash(raw.val_labels)
    chosen = held_out
    if spec.auxiliary.source == "unused_pool":
        if raw.predefined:
            raise DataError(f"{spec.id} has no unused_pool: it is taken as it is listed", "split")
        chosen = _unused(spec, raw, longtailed, spec.auxiliary.per_class)
    elif len(held_out) == 0:
        raise DataError(
            f"{spec.id} has no class with two images, of which one can be held out", "split"
        )
    return LabeledImages(raw.train_images[chosen], raw.train_labels[chosen]), split_hash(chosen)


def _unused(
    spec: DatasetSpec, raw: RawDataset, longtailed: Sequence[int], per_class: int
) -> Indices:
    """Return the images of each class that come after those of both splits."""
    wanted = [
        max(pair) + per_class for pair in zip(longtailed, balanced_counts(longtailed), strict=True)
    ]
    try:
        positions = subsample(raw.train_labels, wanted, spec.split_seed)
    except DataError as error:
        raise DataError(f"{spec.id} has no unused_pool({per_class}): {error}", error.code) from None
    _, unused = _last_of_each(positions, wanted, [per_class] * len(wanted))
    return unused


def split_name(spec: DatasetSpec, split: Split, subset: ClassSubset = "all") -> str:
    """Return the words for a split and subset in messages."""
    return f"{spec.id} {split}" + ("" if subset == "all" else f", {subset}-shot classes")


def present_groups(spec: DatasetSpec, data_root: str | Path | None = None) -> frozenset[Group]:
    """Return the groups that have classes, as cheaply as possible; nothing is ever downloaded.

    Returns:
        The groups; all of them where only images could tell that are not there.

    Raises:
        DataError: when images are there but cannot be used.
    """
    if (planned := planned_groups(spec)) is not None:
        return planned
    if not is_there(spec, data_root):
        return frozenset(GROUPS)
    longtailed = _longtailed_counts(spec, load_raw_dataset(spec, data_root, download=False))
    return frozenset(class_groups(longtailed, spec.shot_rule))
