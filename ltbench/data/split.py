"""The two splits of a dataset: the long-tailed one and its balanced twin."""

from dataclasses import dataclass

import numpy as np

from ltbench.config.models import DatasetSpec, Split
from ltbench.data.errors import DataError
from ltbench.data.pool import Pool
from ltbench.data.profiles import balanced_counts, longtailed_counts
from ltbench.data.subsample import Indices, split_hash, subsample


@dataclass(frozen=True)
class SplitIndices:
    """What a job trains and is tested on.

    Attributes:
        train: [N] positions in the pool, ordered by class.
        counts: [C] training images a class.
        longtailed_counts: [C] those of the long-tailed split, from which groups are made.
        train_hash: SHA-256 of `train`.
        test_hash: SHA-256 of the test labels in their order, which is the order of the pool.
    """

    train: Indices
    counts: tuple[int, ...]
    longtailed_counts: tuple[int, ...]
    train_hash: str
    test_hash: str


def make_split(spec: DatasetSpec, pool: Pool, split: Split) -> SplitIndices:
    """Choose the training images of a split; all test images are always used.

    Raises:
        DataError: when classes have too few images, so that the split (or the twin) is impossible.
    """
    pool_counts = np.bincount(pool.train_labels, minlength=spec.classes).tolist()
    longtailed = longtailed_counts(spec, pool_counts)
    counts = longtailed if split == "longtailed" else balanced_counts(longtailed)
    try:
        train = subsample(pool.train_labels, counts, spec.split_seed)
    except DataError as error:
        kind = "balanced twin" if split == "balanced" else "long-tailed split"
        raise DataError(f"{spec.id} has no {kind}: {error}") from None
    return SplitIndices(
        train=train,
        counts=tuple(counts),
        longtailed_counts=tuple(longtailed),
        train_hash=split_hash(train),
        test_hash=split_hash(pool.test_labels),
    )
