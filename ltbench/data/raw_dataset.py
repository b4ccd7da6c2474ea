"""Raw datasets: all images and labels of a source, before splits."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.config.dataset import Split
from ltbench.config.keys import content_hash
from ltbench.data.images import FileImages, Images

Labels = NDArray[np.int64]

EXCLUDED_LABEL = -1
"""Label of a training image that is excluded from all splits."""


@dataclass(frozen=True)
class LabeledImages:
    """Images and labels [N], and the files of images in memory."""

    images: Images
    labels: Labels
    files: FileImages | None = None

    @property
    def names(self) -> list[str]:
        """Path of each image, or its position if it has no file."""
        files = self.images if isinstance(self.images, FileImages) else self.files
        if files is None:
            return [str(position) for position in range(len(self.images))]
        return [str(files.root / path) for path in files.paths]

    def counts(self, classes: int) -> tuple[int, ...]:
        """Return the class counts [C]."""
        return tuple(np.bincount(self.labels, minlength=classes).tolist())


@dataclass(frozen=True)
class PredefinedSplit:
    """A split given by an official list.

    Attributes:
        train: [N] positions in the raw dataset.
        hash: SHA-256 of the list; of the list and the excluded images if there are any.
    """

    train: Labels
    hash: str


@dataclass(frozen=True)
class RawDataset:
    """All images and labels of a dataset.

    Attributes:
        train_images, test_images: in memory or in files; possibly cached after `open_images`.
        train_labels, test_labels: [N]; `EXCLUDED_LABEL` for excluded training images.
        class_names: of the source.
        fingerprint: SHA-256 of images and labels; of the files' bytes for the user's own images, of
            the lists for official ones.
        val_images, val_labels: official validation images; None without.
        predefined: splits given by official lists.
        no_balanced_counterpart: reason why the balanced counterpart is not predefined.
        training: fingerprint of all but the test images, if it was measured.
        skipped: files in its folders that are no images.
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
    skipped: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, FileImages]:
        """Training and test images that are read from files, by part."""
        tested = {"train": self.train_images, "test": self.test_images}
        return {part: images for part, images in tested.items() if isinstance(images, FileImages)}

    @property
    def parts(self) -> dict[str, Images]:
        """All images by part, validation included."""
        val = {} if self.val_images is None else {"val": self.val_images}
        return {"train": self.train_images, "test": self.test_images, **val}


def exclude_images(raw: RawDataset, positions: Labels) -> RawDataset:
    """Exclude training images from all splits of a dataset."""
    if len(positions) == 0:
        return raw
    if not raw.predefined:
        labels = raw.train_labels.copy()
        labels[positions] = EXCLUDED_LABEL
        return replace(raw, train_labels=labels)
    predefined: dict[Split, PredefinedSplit] = {}
    for split, full in raw.predefined.items():
        excluded = np.isin(full.train, positions)
        paths = [raw.files["train"].paths[k] for k in full.train[excluded]]
        predefined[split] = PredefinedSplit(full.train[~excluded], content_hash([full.hash, paths]))
    return replace(raw, predefined=predefined)


def content_fingerprint(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of arrays: dtype, shape and C-order bytes of each."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """Transpose images to [N, C, H, W].

    Args:
        images: [N, H, W] or [N, H, W, C].
    """
    transposed = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(transposed)
