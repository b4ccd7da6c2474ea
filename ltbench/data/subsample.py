"""Which images a split keeps: the canonical generator of long-tailed CIFAR (Cao et al. 2019).

With NumPy's legacy generator seeded once, the images of each class, in ascending class order, are
shuffled and the first `n_k` kept; the result is ordered by class. The shuffles do not depend on the
counts, so that a smaller split of the same seed lies inside a larger one, and the balanced one
takes the long-tailed images of a class first and further ones of the pool after them.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.data.errors import DataError, listed

Indices = NDArray[np.int64]


def subsample(labels: Indices, counts: Sequence[int], seed: int) -> Indices:
    """Return the positions in the pool of the images that a split keeps.

    Args:
        labels: [N] class of each image of the pool, less than 0 where it is left out.
        counts: [C] images to keep of each class.
        seed: seed of the shuffles (0 in the field).

    Returns:
        [sum(counts)] positions, ordered by class.

    Raises:
        DataError: naming every class that has too few images or would get none.
    """
    check_counts(np.bincount(labels[labels >= 0], minlength=len(counts)).tolist(), counts)
    generator = np.random.RandomState(seed)
    kept = []
    for k, count in enumerate(counts):
        positions = np.flatnonzero(labels == k)
        generator.shuffle(positions)
        kept.append(positions[:count])
    return np.concatenate(kept).astype(np.int64)


def check_counts(pool: Sequence[int], counts: Sequence[int]) -> None:
    """Refuse counts that a pool cannot give.

    Raises:
        DataError: naming every class that has too few images or would get none.
    """
    if len(pool) != len(counts):
        raise DataError(f"the images have {len(pool)} classes, the split {len(counts)}", "split")
    problems = [f"class {k} has no images" for k, have in enumerate(pool) if have == 0]
    problems += [
        f"class {k} would keep none of its {have} images: a smaller ratio or more images are needed"
        for k, (have, want) in enumerate(zip(pool, counts, strict=True))
        if want == 0 < have
    ]
    problems += [
        f"class {k} has {have} images, the split needs {want}"
        for k, (have, want) in enumerate(zip(pool, counts, strict=True))
        if want > have > 0
    ]
    if problems:
        raise DataError(f"the split cannot be made:\n{listed(problems)}", "split")


def split_hash(positions: Indices) -> str:
    """Return the SHA-256 of a list of integers as little-endian int64."""
    return hashlib.sha256(positions.astype("<i8").tobytes()).hexdigest()
