"""Subsampling of a training set, as for long-tailed CIFAR.

It is that of Cao et al. 2019. With NumPy's legacy generator seeded once, the images of each class,
in ascending class order, are shuffled and the first `n_k` kept; the result is ordered by class. The
shuffles do not depend on the counts, so that of two splits of one seed the smaller is a subset of
the larger in each class: the balanced split takes the long-tailed images of a class first, then
further ones.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.data.errors import DataError, listed

Indices = NDArray[np.int64]


def subsample(
    labels: Indices, counts: Sequence[int], seed: int, classes: Sequence[str] | None = None
) -> Indices:
    """Draw the positions of a split's images.

    Args:
        labels: [N] class of each training image, less than 0 for excluded ones.
        counts: [C] images to keep of each class.
        seed: of the shuffles (0 in the literature).
        classes: [C] names in messages; default: their numbers.

    Returns:
        [sum(counts)] positions, ordered by class.

    Raises:
        DataError: naming all classes that have too few images or would keep none.
    """
    available = np.bincount(labels[labels >= 0], minlength=len(counts)).tolist()
    _check_counts(available, counts, range(len(counts)) if classes is None else classes)
    generator = np.random.RandomState(seed)
    kept = []
    for k, count in enumerate(counts):
        positions = np.flatnonzero(labels == k)
        generator.shuffle(positions)
        kept.append(positions[:count])
    return np.concatenate(kept).astype(np.int64)


def _check_counts(
    available: Sequence[int], counts: Sequence[int], classes: Sequence[object]
) -> None:
    """Check that a training set has the images of a split.

    Args:
        available: [C] images of each class.
        counts: [C] images to keep of each class.
        classes: [C] names in messages.

    Raises:
        DataError: naming all classes that have too few images or would keep none.
    """
    if len(available) != len(counts):
        raise DataError(
            f"the images have {len(available)} classes, the split {len(counts)}", "split"
        )
    problems = [
        f"class {name} has no images" for name, n in zip(classes, available, strict=True) if n == 0
    ]
    problems += [
        f"class {name} would keep none of its {n} images: use a smaller imbalance ratio or more "
        "images"
        for name, n, needed in zip(classes, available, counts, strict=True)
        if needed == 0 < n
    ]
    problems += [
        f"class {name} has {n} images, the split needs {needed}"
        for name, n, needed in zip(classes, available, counts, strict=True)
        if needed > n > 0
    ]
    if problems:
        raise DataError(f"the split cannot be made:\n{listed(problems)}", "split")


def split_hash(positions: Indices) -> str:
    """Return the SHA-256 of a list of integers as little-endian int64."""
    return hashlib.sha256(positions.astype("<i8").tobytes()).hexdigest()
