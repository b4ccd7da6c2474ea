"""The pool of a dataset: all its images, before any split is made."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.config.keys import content_hash
from ltbench.config.models import Split

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

LEFT_OUT = -1
"""Label of a training image that no split is to have."""


@dataclass(frozen=True)
class ImageFiles:
    """Images of any size that stay in their files.

    Attributes:
        root: folder that paths start from.
        paths: of the images.
    """

    root: Path
    paths: tuple[str, ...]

    def __getitem__(self, positions: Labels) -> "ImageFiles":
        """Return some of the images."""
        return ImageFiles(self.root, tuple(self.paths[position] for position in positions))


@dataclass(frozen=True)
class GivenSplit:
    """A split that lists say.

    Attributes:
        train: [N] positions in the pool.
        hash: SHA-256 of the split's list; of that and what is left out of it, where anything is.
    """

    train: Labels
    hash: str


@dataclass(frozen=True)
class Pool:
    """All images of a dataset.

    Attributes:
        train_images, test_images: [N, C, H, W], possibly mapped from a file; or files.
        train_labels, test_labels: [N]; of training images that are left out, `LEFT_OUT`.
        class_names: as the source calls them.
        fingerprint: SHA-256 of the images and labels; of the files' bytes for one's own images, of
            the lists for official ones.
        val_images, val_labels: the validation images that a source comes with, if it does.
        given: splits that are not drawn but listed.
        no_twin: why a balanced twin is not among these.
        training: the fingerprint of all but the test images, where it was measured.
    """

    train_images: Images | ImageFiles
    train_labels: Labels
    test_images: Images | ImageFiles
    test_labels: Labels
    class_names: tuple[str, ...]
    fingerprint: str
    val_images: Images | ImageFiles | None = None
    val_labels: Labels | None = None
    given: Mapping[Split, GivenSplit] = field(default_factory=dict)
    no_twin: str | None = None
    training: str | None = None

    @property
    def files(self) -> dict[str, ImageFiles]:
        """The images by part that stay in their files."""
        parts = {"train": self.train_images, "test": self.test_images}
        return {part: images for part, images in parts.items() if isinstance(images, ImageFiles)}

    @property
    def every_file(self) -> list[ImageFiles]:
        """The images that stay in their files, those of validation too."""
        val = [self.val_images] if isinstance(self.val_images, ImageFiles) else []
        return [*self.files.values(), *val]


def without(pool: Pool, positions: Labels) -> Pool:
    """Return a pool whose splits, given or drawn, leave out some training images."""
    if len(positions) == 0:
        return pool
    if not pool.given:
        labels = pool.train_labels.copy()
        labels[positions] = LEFT_OUT
        return replace(pool, train_labels=labels)
    given: dict[Split, GivenSplit] = {}
    for split, whole in pool.given.items():
        left_out = np.isin(whole.train, positions)
        paths = [pool.files["train"].paths[k] for k in whole.train[left_out]]
        given[split] = GivenSplit(whole.train[~left_out], content_hash([whole.hash, paths]))
    return replace(pool, given=given)


def content_fingerprint(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of arrays: of each its type, its shape and its bytes in C order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """Return images [N, H, W] or [N, H, W, C] as [N, C, H, W]."""
    one = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(one)
