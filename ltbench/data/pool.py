"""The pool of a dataset: all its images, before any split is made."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """All images of a dataset.

    Attributes:
        train_images, test_images: [N, C, H, W], possibly mapped from a file.
        train_labels, test_labels: [N].
        class_names: as the source calls them.
        fingerprint: SHA-256 of the images and labels; of the files' bytes for image folders.
        val_images, val_labels: the validation images that a source comes with, if it does.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    fingerprint: str
    val_images: Images | None = None
    val_labels: Labels | None = None
