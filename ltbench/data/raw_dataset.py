"""A raw dataset: all its images as they are read, before any split is made."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.config.keys import content_hash
from ltbench.config.models import Split
from ltbench.data.images import FileImages, Images

Labels = NDArray[np.int64]

EXCLUDED = -1
"""Label of a training image that no split is to have."""


@dataclass(frozen=True)
class LabeledImages:
    """Images and their labels [N]."""

    images: Images
    labels: Labels

    def counts(self, classes: int) -> tuple[int, ...]:
        """Return the images of each class."""
        return tuple(np.bincount(self.labels, minlength=classes).tolist())


@dataclass(frozen=True)
class PredefinedSplit:
    """A split that lists say.

    Attributes:
        train: [N] positions in the raw dataset.
        hash: SHA-256 of the split's list; of that and what is excluded from it, where anything is.
    """

    train: Labels
    hash: str


@dataclass(frozen=True)
class RawDataset:
    """All images of a dataset, as they are read.

    Attributes:
        train_images, test_images: in memory, or in files; as jobs read them after `open_images`.
        train_labels, test_labels: [N]; of training images that are excluded, `EXCLUDED`.
        class_names: as the source calls them.
        fingerprint: SHA-256 of the images and labels; of the files' bytes for one's own images, of
            the lists for official ones.
        val_images, val_labels: the validation images that a source comes with, if it does.
        predefined: splits that are not drawn but listed.
        no_balanced_counterpart: why a balanced counterpart is not among these.
        training: the fingerprint of all but the test images, where it was measured.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    fingerprint: str
    val_images: Images | None = None
    val_labels: Labels | None = None
    predefined: Mapping[Split, PredefinedSplit] = field(default_factory=dict)
    no_balanced_counterpart: str | None = None
    training: str | None = None

    @property
    def files(self) -> dict[str, FileImages]:
        """The images by part that stay in their files."""
        parts = {"train": self.train_images, "test": self.test_images}
        return {part: images for part, images in parts.items() if isinstance(images, FileImages)}

    @property
    def every_file(self) -> list[FileImages]:
        """The images that stay in their files, those of validation too."""
        val = [self.val_images] if isinstance(self.val_images, FileImages) else []
        return [*self.files.values(), *val]


def exclude_images(raw: RawDataset, positions: Labels) -> RawDataset:
    """Return a dataset whose splits, predefined or drawn, have none of some training images."""
    if len(positions) == 0:
        return raw
    if not raw.predefined:
        labels = raw.train_labels.copy()
        labels[positions] = EXCLUDED
        return replace(raw, train_labels=labels)
    predefined: dict[Split, PredefinedSplit] = {}
    for split, whole in raw.predefined.items():
        excluded = np.isin(whole.train, positions)
        paths = [raw.files["train"].paths[k] for k in whole.train[excluded]]
        predefined[split] = PredefinedSplit(
            whole.train[~excluded], content_hash([whole.hash, paths])
        )
    return replace(raw, predefined=predefined)


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
