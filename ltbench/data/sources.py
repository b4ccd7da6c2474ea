"""Sources of raw datasets: own files, official lists, torchvision, MedMNIST.

Imports no torch.
"""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ltbench.config.dataset import OWN_SOURCES, DatasetSpec
from ltbench.data.array_cache import open_array_cache
from ltbench.data.decode import Pixels
from ltbench.data.errors import DataError
from ltbench.data.file_backed import open_files
from ltbench.data.file_index import Part
from ltbench.data.files import expand_home, file_lock
from ltbench.data.image_folder import list_folder
from ltbench.data.image_list import list_files
from ltbench.data.images import InMemoryImages
from ltbench.data.medmnist import read_medmnist
from ltbench.data.official_lists import pinned_fingerprint
from ltbench.data.prepare import open_prepared
from ltbench.data.raw_dataset import Labels, RawDataset, channels_first, content_fingerprint
from ltbench.data.tiny_imagenet import list_tiny_imagenet
from ltbench.data.torchvision_readers import AS_FILES, TORCHVISION, list_dataset

INDEXED = (*OWN_SOURCES, "tiny_imagenet")
"""Sources with a file index of ours."""

UNREADABLE = (OSError, RuntimeError, ValueError, LookupError, AssertionError)
"""Exceptions of torchvision for missing, damaged or undownloadable files."""


def resolve_root(data_root: str | Path | None = None) -> Path:
    """Return the data root: the given one, else LTBENCH_DATA, else ./data."""
    return expand_home(data_root or os.environ.get("LTBENCH_DATA") or "data")


def load_raw_dataset(
    spec: DatasetSpec, data_root: str | Path | None = None, *, download: bool = True
) -> RawDataset:
    """Load the images and labels of a dataset.

    Args:
        spec: the dataset.
        data_root: folder of all datasets; see `resolve_root`.
        download: whether torchvision may download a missing dataset.

    Raises:
        DataError: if images are missing or damaged, have the wrong size, channels or number of
            classes, or not the pinned fingerprint.
    """
    root = resolve_root(data_root)
    if spec.test_per_class is not None:
        raw = _digits(spec.test_per_class)
    elif spec.source in INDEXED:
        raw = _load_indexed(spec, root)
    elif spec.source == "official_lists":
        raw = open_prepared(spec, dataset_path(spec, root))
    elif spec.source == "medmnist":
        raw = read_medmnist(spec, dataset_path(spec, root))
    elif spec.source in AS_FILES:
        raw = _torchvision_files(spec, root)
    else:
        raw = _torchvision(spec, root, download=download)
    _check(spec, raw)
    return raw


def is_there(spec: DatasetSpec, data_root: str | Path | None = None) -> bool:
    """Return whether the folder of a dataset's images exists."""
    return spec.source == "digits" or dataset_path(spec, resolve_root(data_root)).exists()


def measure_fingerprint(spec: DatasetSpec, data_root: str | Path | None = None) -> str | None:
    """Return the fingerprint that a dataset's jobs are planned with.

    A pinned fingerprint, or that of pinned lists, is returned without opening images: jobs check it
    when they load them. The user's own images are read from a cache, which is built if needed.
    Nothing is downloaded.

    Returns:
        The fingerprint; None if the images are missing.

    Raises:
        DataError: if the images exist but cannot be used.
    """
    if spec.fingerprint is not None:
        return spec.fingerprint
    if (
        spec.official_lists is not None
        and (pinned := pinned_fingerprint(spec.official_lists)) is not None
    ):
        return pinned
    if not is_there(spec, data_root):
        return None
    return load_raw_dataset(spec, data_root, download=False).fingerprint


def _check(spec: DatasetSpec, raw: RawDataset) -> None:
    size = (spec.channels, spec.image_size, spec.image_size)
    problems = []
    if len(raw.class_names) != spec.classes:
        problems.append(f"has {len(raw.class_names)} classes, the configuration {spec.classes}")
    if raw.train_images.shape not in (None, size):
        problems.append(f"has images {raw.train_images.shape}, the configuration {size}")
    if spec.fingerprint not in (None, raw.fingerprint):
        problems.append(
            f"has fingerprint {raw.fingerprint}, the configuration pins {spec.fingerprint}: "
            "these are other images"
        )
    if problems:
        raise DataError("\n".join(f"{spec.name} {problem}" for problem in problems), "mismatch")


def _in_memory(
    train: Pixels, train_labels: Labels, test: Pixels, test_labels: Labels, names: tuple[str, ...]
) -> RawDataset:
    fingerprint = content_fingerprint(train, train_labels, test, test_labels)
    images, test_images = InMemoryImages(train), InMemoryImages(test)
    return RawDataset(images, train_labels, test_images, test_labels, names, fingerprint)


def _digits(test_per_class: int) -> RawDataset:
    """Load scikit-learn's 8x8 digits, gray levels 0..16 scaled to 0..255.

    They have no test set: it is the last images of each class in the stored order.
    """
    images, labels, names = _stored_digits()
    test = np.zeros(len(labels), bool)
    for k in range(10):
        test[np.flatnonzero(labels == k)[-test_per_class:]] = True
    return _in_memory(images[~test], labels[~test], images[test], labels[test], names)


@cache
def _stored_digits() -> tuple[Pixels, Labels, tuple[str, ...]]:
    """Return images, labels and class names of the digits, read once.

    Returns:
        Images [N, 1, 8, 8], labels [N], and names.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    names = tuple(str(name) for name in bunch.target_names)
    return images, bunch.target.astype(np.int64), names


def _torchvision(spec: DatasetSpec, root: Path, *, download: bool) -> RawDataset:
    reader = TORCHVISION[spec.source]
    dataset = reader.of(root)
    missing = _missing(spec, root, "as torchvision stores it")
    try:
        train, test = dataset(**reader.train), dataset(**reader.test)
    except UNREADABLE as error:
        if not download:
            raise DataError(f"{missing}: {error}") from error
        try:
            with file_lock(root / f".{spec.source}.lock"):
                train = dataset(**reader.train, download=True)
                test = dataset(**reader.test, download=True)
        except UNREADABLE as error:
            raise DataError(f"{missing}, and downloading it failed: {error}") from error
    names = getattr(train, "classes", None) or map(str, range(spec.classes))
    return _in_memory(*_pixels(train), *_pixels(test), tuple(names))


def _torchvision_files(spec: DatasetSpec, root: Path) -> RawDataset:
    reader, folder = TORCHVISION[spec.source], dataset_path(spec, root)
    missing = _missing(spec, root, f"as torchvision's {reader.name} stores it")
    if not folder.is_dir():
        raise DataError(missing)
    dataset = reader.of(root)
    try:
        train, test = dataset(**reader.train, loader=str), dataset(**reader.test, loader=str)
    except UNREADABLE as error:
        raise DataError(f"{missing}: {error}") from error
    return open_files(spec, folder, list_dataset(folder, train, test))


def _pixels(dataset: Any) -> tuple[Pixels, Labels]:
    """Return images [N, C, H, W] and labels of a torchvision dataset."""
    images = np.asarray(dataset.data)
    if images.shape[1] != 3:  # SVHN has channels first
        images = channels_first(images)
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return np.ascontiguousarray(images), np.asarray(labels, np.int64)


def _load_indexed(spec: DatasetSpec, root: Path) -> RawDataset:
    folder, names = dataset_path(spec, root), _part_names(spec)
    if not folder.is_dir() and spec.source == "tiny_imagenet":
        raise DataError(_missing(spec, root, "tiny-imagenet-200.zip, unpacked"))
    if not folder.is_dir():
        layout = "{}/<class>/*" if spec.source == "image_folder" else "{}"
        parts = dict.fromkeys(layout.format(name) for name in names.values())
        raise DataError(_missing(spec, root, f"with {' and '.join(parts)}"))
    if spec.source == "image_folder":
        index = list_folder(folder, names)
    elif spec.source == "image_list":
        index = list_files(folder, names, spec.classes)
    else:
        index = list_tiny_imagenet(folder)
    raw = (open_array_cache if spec.sizes == "equal" else open_files)(spec, folder, index)
    return replace(raw, skipped=index.skipped)


def _part_names(spec: DatasetSpec) -> dict[Part, str]:
    """Return the folder or list of each part of own images."""
    train: str | None = spec.train_folder
    test: str | None = spec.test_folder
    val = spec.val_folder
    if spec.source == "image_list":
        train, test, val = spec.train_list, spec.test_list or spec.train_list, spec.val_list
    names: dict[Part, str | None] = {"train": train, "test": test, "val": val}
    return {part: name for part, name in names.items() if name is not None}


def dataset_path(spec: DatasetSpec, root: Path) -> Path:
    """Return the folder or file of a dataset's images."""
    own = expand_home(spec.folder) if spec.folder else None
    if spec.source in (*OWN_SOURCES, "official_lists"):
        return root / (own or spec.name)
    if spec.source == "tiny_imagenet":
        return root / (own or "tiny-imagenet-200")
    if spec.source == "medmnist":
        return root / (own or "medmnist") / f"{spec.name}.npz"
    return root / TORCHVISION[spec.source].folder


def _missing(spec: DatasetSpec, root: Path, expected: str) -> str:
    return (
        f"{spec.name}: no usable {dataset_path(spec, root).absolute()} ({expected}; --data-root or "
        "LTBENCH_DATA set another data root)"
    )
