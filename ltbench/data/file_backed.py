"""Images of any size that stay in their files; their fingerprint is measured once.

What was measured stands in the cache folder under the dataset's name and a signature of the files
(path, class, size, time of change): files that changed are measured again.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ltbench.config.keys import file_hash
from ltbench.config.models import DatasetSpec
from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import FileEntry, FileIndex, fingerprints
from ltbench.data.files import (
    atomic_directory,
    cache_root,
    making_cache,
    read_manifest,
    write_manifest,
)
from ltbench.data.images import FileImages
from ltbench.data.raw_dataset import Labels, RawDataset

READERS = 8
"""Files that are read at once: a disk may be far away."""


def open_files(spec: DatasetSpec, folder: Path, listing: FileIndex) -> RawDataset:
    """Return the listed images as files.

    Args:
        spec: the dataset.
        folder: that paths start from.
        listing: the files.

    Raises:
        DataError: where files cannot be read.
    """
    parts = {name: _part(spec, folder, files) for name, files in listing.parts.items()}
    val_images, val_labels = parts.get("val", (None, None))
    measured = _fingerprints(spec, folder, listing)
    return RawDataset(
        *parts["train"],
        *parts["test"],
        listing.classes,
        measured["fingerprint"],
        val_images,
        val_labels,
        training=measured.get("training"),
    )


def _part(spec: DatasetSpec, folder: Path, files: Sequence[FileEntry]) -> tuple[FileImages, Labels]:
    labels = np.array([file.label for file in files], np.int64)
    return FileImages(folder, tuple(file.path for file in files), spec.channels), labels


def _fingerprints(spec: DatasetSpec, folder: Path, listing: FileIndex) -> dict[str, str]:
    measured = cache_root() / f"{spec.name}-files-{listing.signature()}"
    content = read_manifest(measured)
    if content is None:
        with making_cache(measured), atomic_directory(measured) as temporary:
            content = _measure(folder, listing)
            write_manifest(temporary, content)
    return content


def _measure(folder: Path, listing: FileIndex) -> dict[str, str]:
    unreadable: list[str] = []

    def digest(file: FileEntry) -> tuple[str, int]:
        try:
            return file_hash(folder / file.path), file.label
        except OSError as error:
            unreadable.append(f"{file.path} {error.strerror}")
            return "", file.label

    with ThreadPoolExecutor(READERS) as pool:
        digests = {name: list(pool.map(digest, part)) for name, part in listing.parts.items()}
    if unreadable:
        raise DataError(
            f"{folder.absolute()}: {len(unreadable):,} files cannot be read:\n"
            f"{listed(sorted(unreadable))}",
            "bad-images",
        )
    return fingerprints(digests)
