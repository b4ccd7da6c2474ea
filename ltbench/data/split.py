"""Long-tailed split, balanced counterpart and auxiliary images. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltbench.config.dataset import DatasetSpec, Split
from ltbench.config.recipe import Recipe
from ltbench.core.groups import GROUPS, Group, class_groups, subset_classes
from ltbench.core.types import ClassSubset
from ltbench.data.errors import DataError, listed
from ltbench.data.image_cache import open_images
from ltbench.data.imbalance import (
    balanced_counts,
    held_out_counts,
    longtailed_counts,
    planned_groups,
    split_counts,
    split_size,
)
from ltbench.data.raw_dataset import EXCLUDED_LABEL, LabeledImages, RawDataset
from ltbench.data.sources import is_there, load_raw_dataset
from ltbench.data.subsample import Indices, split_hash, subsample


@dataclass(frozen=True)
class SplitIndices:
    """Training and auxiliary images of a split.

    Attributes:
        train: [N] positions in the raw dataset, ordered by class, or as in the official list.
        classes: [K] classes of the subset.
        counts: [C] training images of each class, 0 outside of the subset.
        longtailed_counts: [C] class counts of the long-tailed split, which define the shot groups.
        train_hash: SHA-256 of `train`; of the official list if there is one.
        test: images that jobs are tested on: of the test, or `auxiliary`.
        test_hash: SHA-256 of their labels in order.
        auxiliary: images of the dataset's `auxiliary`, ordered by class, disjoint from training and
            test images; None if the dataset has none.
        auxiliary_hash: SHA-256 of their positions in the raw dataset; of the labels in order for
            official validation images.
    """

    train: Indices
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    longtailed_counts: tuple[int, ...]
    train_hash: str
    test: LabeledImages
    test_hash: str
    auxiliary: LabeledImages | None
    auxiliary_hash: str | None


def make_split(
    spec: DatasetSpec, raw: RawDataset, split: Split, subset: ClassSubset = "all"
) -> SplitIndices:
    """Select the training and auxiliary images of a split.

    A subset keeps the split's images of the classes of a shot group.

    Raises:
        DataError: if classes have too few images for the split, its balanced counterpart or the
            auxiliary images, or the subset has no classes.
    """
    selected = _select(spec, raw, split)
    labels = raw.train_labels
    counts = np.bincount(labels[selected], minlength=spec.classes).tolist()
    if empty := [name for name, count in zip(raw.class_names, counts, strict=True) if not count]:
        raise DataError(
            f"{split_name(spec, split)} has classes without training images:\n{listed(empty)}",
            "split",
        )
    longtailed = counts if split == "longtailed" else _longtailed_counts(spec, raw)
    classes = subset_classes(subset, longtailed, spec.shot_rule)
    if not classes:
        raise DataError(f"{spec.id} has no {subset}-shot classes", "split")
    train, held_out = selected, selected[:0]
    if any(out := held_out_counts(spec, counts)):
        by_class = selected[np.argsort(labels[selected], kind="stable")]
        train, held_out = _split_off_last(by_class, counts, out)
    if subset != "all":
        train = train[np.isin(labels[train], classes)]
    as_listed = split in raw.predefined and train is selected
    auxiliary, auxiliary_hash = _auxiliary(spec, raw, longtailed, held_out) or (None, None)
    test = LabeledImages(raw.test_images, raw.test_labels)
    if spec.tested_on == "auxiliary" and auxiliary is not None:
        test = auxiliary
    return SplitIndices(
        train=train,
        classes=classes,
        counts=tuple(np.bincount(labels[train], minlength=spec.classes).tolist()),
        longtailed_counts=tuple(longtailed),
        train_hash=raw.predefined[split].hash if as_listed else split_hash(train),
        test=test,
        test_hash=split_hash(test.labels),
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
    """Open a dataset's images for a recipe, and make a split.

    Args:
        spec: the dataset.
        raw: its images.
        recipe: of the jobs.
        split: the long-tailed split or its balanced counterpart.
        subset: classes to train on.
        threads: that decode.

    Raises:
        DataError: as of `open_images` and `make_split`, or if the split has fewer images than a
            batch.
    """
    raw = open_images(spec, raw, recipe, threads)
    indices = make_split(spec, raw, split, subset)
    if recipe.batch_size > len(indices.train):
        raise DataError(
            f"batch size {recipe.batch_size} of recipe {recipe.name} is larger than the "
            f"{len(indices.train)} training images of {split_name(spec, split, subset)}",
            "batch-too-large",
        )
    return raw, indices


def _longtailed_counts(spec: DatasetSpec, raw: RawDataset) -> list[int]:
    """Return the class counts [C] of the long-tailed split, nothing held out."""
    labels = raw.train_labels
    if raw.predefined:
        labels = labels[raw.predefined["longtailed"].train]
    counts = np.bincount(labels[labels != EXCLUDED_LABEL], minlength=spec.classes).tolist()
    return counts if raw.predefined else longtailed_counts(spec, counts)


def _select(spec: DatasetSpec, raw: RawDataset, split: Split) -> Indices:
    """Return the positions of a split's images before any are held out."""
    kind = "balanced counterpart" if split == "balanced" else "long-tailed split"
    if split in raw.predefined:
        return raw.predefined[split].train
    if raw.predefined:
        raise DataError(f"{spec.id} has no {kind}: {raw.no_balanced_counterpart}", "split")
    longtailed = _longtailed_counts(spec, raw)
    counts = longtailed if split == "longtailed" else balanced_counts(longtailed)
    try:
        return subsample(raw.train_labels, counts, spec.split_seed, raw.class_names)
    except DataError as error:
        raise DataError(f"{spec.id} has no {kind}: {error}", error.code) from None


def _split_off_last(
    positions: Indices, counts: Sequence[int], last: Sequence[int]
) -> tuple[Indices, Indices]:
    """Divide positions into the first and the last of each class.

    Args:
        positions: [N] ordered by class.
        counts: [C] positions of each class.
        last: [C] how many of each class are split off.
    """
    rank = np.concatenate([np.arange(n) for n in counts])
    is_last = rank >= np.repeat(np.subtract(counts, last), counts)
    return positions[~is_last], positions[is_last]


def _auxiliary(
    spec: DatasetSpec, raw: RawDataset, longtailed: Sequence[int], held_out: Indices
) -> tuple[LabeledImages, str] | None:
    """Return the auxiliary images and their hash.

    They are the same for both splits, unless they are held out of each.

    Raises:
        DataError: if there are none, or too few.
    """
    if spec.auxiliary is None:
        return None
    if spec.auxiliary.source == "official_val":
        if raw.val_images is None or raw.val_labels is None:
            raise DataError(f"{spec.id} has no validation images", "missing-data")
        return LabeledImages(raw.val_images, raw.val_labels), split_hash(raw.val_labels)
    positions = held_out
    if spec.auxiliary.source == "unused_pool":
        if raw.predefined:
            raise DataError(f"{spec.id} has no unused_pool: its splits are official lists", "split")
        positions = _unused(spec, raw, longtailed, spec.auxiliary.per_class)
    elif len(held_out) == 0:
        raise DataError(
            f"{spec.id} has no class with two images, so that none can be held out", "split"
        )
    images = LabeledImages(raw.train_images[positions], raw.train_labels[positions])
    return images, split_hash(positions)


def _unused(
    spec: DatasetSpec, raw: RawDataset, longtailed: Sequence[int], per_class: int
) -> Indices:
    """Return `per_class` images of each class that are in neither split."""
    counts = [
        max(pair) + per_class for pair in zip(longtailed, balanced_counts(longtailed), strict=True)
    ]
    try:
        positions = subsample(raw.train_labels, counts, spec.split_seed, raw.class_names)
    except DataError as error:
        raise DataError(f"{spec.id} has no unused_pool({per_class}): {error}", error.code) from None
    _, unused = _split_off_last(positions, counts, [per_class] * len(counts))
    return unused


def require_auxiliary_classes(spec: DatasetSpec, split: Split, counts: Sequence[int]) -> None:
    """Check that each class has auxiliary images.

    Args:
        spec: the dataset.
        split: the long-tailed split or its balanced counterpart.
        counts: auxiliary images of each class.

    Raises:
        DataError: if a class has none.
    """
    if empty := [k for k, count in enumerate(counts) if count == 0]:
        source = spec.auxiliary.id if spec.auxiliary else "the auxiliary images"
        raise DataError(
            f"{split_name(spec, split)} has classes without an image in {source}, where each "
            f"needs one: {', '.join(map(str, empty[:10]))}"
            f"{' and others' if len(empty) > 10 else ''}; a class of one training image has none "
            "to hold out: lower the imbalance_ratio, or set auxiliary to an unused_pool",
            "split",
        )


def check_auxiliary(spec: DatasetSpec, split: Split, data_root: str | Path | None = None) -> None:
    """Check that each class has auxiliary images; nothing is downloaded.

    Raises:
        DataError: if one has none, or present images do not suffice for them.
    """
    planned = split_counts(spec.model_copy(update={"auxiliary": None}), split)
    if spec.auxiliary and spec.auxiliary.source == "train_holdout" and planned is not None:
        require_auxiliary_classes(spec, split, held_out_counts(spec, planned))
    elif is_there(spec, data_root):
        raw = load_raw_dataset(spec, data_root, download=False)
        images = make_split(spec, raw, split).auxiliary
        require_auxiliary_classes(spec, split, images.counts(spec.classes) if images else [0])


def split_name(spec: DatasetSpec, split: Split, subset: ClassSubset = "all") -> str:
    """Return the name of a split and subset in messages."""
    return f"{spec.id} {split}" + ("" if subset == "all" else f", {subset}-shot classes")


def check_longtailed(spec: DatasetSpec, data_root: str | Path | None = None) -> None:
    """Check that present images suffice for the long-tailed split.

    Raises:
        DataError: if they do not.
    """
    raw = load_raw_dataset(spec, data_root, download=False)
    make_split(spec.model_copy(update={"auxiliary": None}), raw, "longtailed")


def present_groups(spec: DatasetSpec, data_root: str | Path | None = None) -> frozenset[Group]:
    """Return the nonempty shot groups of a dataset; nothing is downloaded.

    Returns:
        The groups; all of them if they depend on images that are missing.

    Raises:
        DataError: if the images exist but cannot be used.
    """
    if (planned := planned_groups(spec)) is not None:
        return planned
    if not is_there(spec, data_root):
        return frozenset(GROUPS)
    longtailed = _longtailed_counts(spec, load_raw_dataset(spec, data_root, download=False))
    return frozenset(class_groups(longtailed, spec.shot_rule))


def present_size(
    spec: DatasetSpec,
    split: Split,
    subset: ClassSubset = "all",
    data_root: str | Path | None = None,
) -> int | None:
    """Return the number of training images of a split; nothing is downloaded.

    Returns:
        The number; None if it depends on images that are missing or cannot be used.
    """
    if (planned := split_size(spec, split, subset)) is not None:
        return planned
    if not is_there(spec, data_root):
        return None
    try:
        raw = load_raw_dataset(spec, data_root, download=False)
        return len(make_split(spec, raw, split, subset).train)
    except DataError:
        return None
