"""The two splits of a dataset, long-tailed and its balanced twin, and the images set apart.

Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltbench.config.models import DatasetSpec, Split
from ltbench.core.groups import GROUPS, Group, class_groups, subset_classes
from ltbench.core.nouns import Subset
from ltbench.data.errors import DataError, listed
from ltbench.data.pool import LEFT_OUT, ImageFiles, Images, Labels, Pool
from ltbench.data.profiles import (
    balanced_counts,
    held_out_counts,
    longtailed_counts,
    planned_groups,
)
from ltbench.data.sources import is_there, load_pool
from ltbench.data.subsample import Indices, split_hash, subsample


@dataclass(frozen=True)
class AuxiliaryImages:
    """Images that are neither trained nor tested on, ordered by class.

    Attributes:
        images: [N, C, H, W], possibly mapped from a file; or files.
        labels: [N].
        hash: SHA-256 of their positions in the pool; of official ones, of their labels in order.
    """

    images: Images | ImageFiles
    labels: Labels
    hash: str

    def counts(self, classes: int) -> tuple[int, ...]:
        """Return the images of each class."""
        return tuple(np.bincount(self.labels, minlength=classes).tolist())


@dataclass(frozen=True)
class SplitIndices:
    """What a job trains and is tested on.

    Attributes:
        train: [N] positions in the pool, ordered by class, or as listed.
        classes: [K] the classes of the subset.
        counts: [C] training images a class, 0 outside the subset.
        longtailed_counts: [C] those of the long-tailed split, from which groups are made.
        train_hash: SHA-256 of `train`; of the list, where there is one.
        test_hash: SHA-256 of the test labels in their order, which is the order of the pool.
        auxiliary: what the dataset's `auxiliary` asks for; None where it asks for none.
    """

    train: Indices
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    longtailed_counts: tuple[int, ...]
    train_hash: str
    test_hash: str
    auxiliary: AuxiliaryImages | None


def make_split(spec: DatasetSpec, pool: Pool, split: Split, subset: Subset = "all") -> SplitIndices:
    """Choose the training images of a split; all test images are always used.

    A subset has the split's own images of its classes, on the twin those of the long-tailed groups.

    Raises:
        DataError: when classes have too few images, so that the split, the twin or the auxiliary
            images are impossible, or the subset has no classes.
    """
    kept = _keep(spec, pool, split)
    labels = pool.train_labels
    counts = np.bincount(labels[kept], minlength=spec.classes).tolist()
    if empty := [name for name, count in zip(pool.class_names, counts, strict=True) if not count]:
        raise DataError(
            f"{split_name(spec, split)} has no training image of these classes:\n{listed(empty)}",
            "split",
        )
    longtailed = counts if split == "longtailed" else _longtailed_counts(spec, pool)
    classes = subset_classes(subset, longtailed, spec.groups)
    if not classes:
        raise DataError(f"{spec.id} has no {subset}-shot classes", "split")
    train, held_out = kept, kept[:0]
    if any(out := held_out_counts(spec, counts)):
        by_class = kept[np.argsort(labels[kept], kind="stable")]
        train, held_out = _last_of_each(by_class, counts, out)
    if subset != "all":
        train = train[np.isin(labels[train], classes)]
    as_given = split in pool.given and train is kept
    return SplitIndices(
        train=train,
        classes=classes,
        counts=tuple(np.bincount(labels[train], minlength=spec.classes).tolist()),
        longtailed_counts=tuple(longtailed),
        train_hash=pool.given[split].hash if as_given else split_hash(train),
        test_hash=split_hash(pool.test_labels),
        auxiliary=_auxiliary(spec, pool, longtailed, held_out),
    )


def _longtailed_counts(spec: DatasetSpec, pool: Pool) -> list[int]:
    """Return the images of each class in the long-tailed split, nothing held out."""
    labels = pool.train_labels
    if pool.given:
        labels = labels[pool.given["longtailed"].train]
    counts = np.bincount(labels[labels != LEFT_OUT], minlength=spec.classes).tolist()
    return counts if pool.given else longtailed_counts(spec, counts)


def _keep(spec: DatasetSpec, pool: Pool, split: Split) -> Indices:
    """Return the images of a split before any are held out, as listed or ordered by class."""
    kind = "balanced twin" if split == "balanced" else "long-tailed split"
    if split in pool.given:
        return pool.given[split].train
    if pool.given:
        raise DataError(f"{spec.id} has no {kind}: {pool.no_twin}", "split")
    longtailed = _longtailed_counts(spec, pool)
    counts = longtailed if split == "longtailed" else balanced_counts(longtailed)
    try:
        return subsample(pool.train_labels, counts, spec.split_seed)
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
    spec: DatasetSpec, pool: Pool, longtailed: Sequence[int], held_out: Indices
) -> AuxiliaryImages | None:
    """Return the auxiliary images, the same in both splits unless they are held out of each.

    Raises:
        DataError: where there are none, or too few.
    """
    if spec.auxiliary is None:
        return None
    if spec.auxiliary.source == "official_val":
        if pool.val_images is None or pool.val_labels is None:
            raise DataError(f"{spec.id} has no validation images", "missing-data")
        return AuxiliaryImages(pool.val_images, pool.val_labels, split_hash(pool.val_labels))
    chosen = held_out
    if spec.auxiliary.source == "unused_pool":
        if pool.given:
            raise DataError(f"{spec.id} has no unused_pool: it is taken as it is listed", "split")
        chosen = _unused(spec, pool, longtailed, spec.auxiliary.per_class)
    elif len(held_out) == 0:
        raise DataError(
            f"{spec.id} has no class with two images, of which one can be held out", "split"
        )
    return AuxiliaryImages(pool.train_images[chosen], pool.train_labels[chosen], split_hash(chosen))


def _unused(spec: DatasetSpec, pool: Pool, longtailed: Sequence[int], per_class: int) -> Indices:
    """Return the images of each class that come after those of both splits."""
    wanted = [
        max(pair) + per_class for pair in zip(longtailed, balanced_counts(longtailed), strict=True)
    ]
    try:
        positions = subsample(pool.train_labels, wanted, spec.split_seed)
    except DataError as error:
        raise DataError(f"{spec.id} has no unused_pool({per_class}): {error}", error.code) from None
    _, unused = _last_of_each(positions, wanted, [per_class] * len(wanted))
    return unused


def split_name(spec: DatasetSpec, split: Split, subset: Subset = "all") -> str:
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
    longtailed = _longtailed_counts(spec, load_pool(spec, data_root, download=False))
    return frozenset(class_groups(longtailed, spec.groups))
