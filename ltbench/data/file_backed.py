"""Images of any size, read from their files.

The fingerprint is computed once. It is cached under the dataset's name and a signature of the files
(path, class, size, ctime), so that changed files are hashed again.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ltbench.config.dataset import DatasetSpec
from ltbench.config.keys import file_hash
from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import FileEntry, FileIndex, fingerprints
from ltbench.data.files import (
    atomic_directory,
    cache_lock,
    cache_root,
    read_manifest,
    write_manifest,
)
from ltbench.data.images import FileImages
from ltbench.data.raw_dataset import Labels, RawDataset

READERS = 8
"""Files read concurrently, for network disks."""


def open_files(spec: DatasetSpec, folder: Path, index: FileIndex) -> RawDataset:
    """Return a dataset whose images are read from their files.

    Args:
        spec: the dataset.
        folder: that the paths of the index are relative to.
        index: of the image files.

    Raises:
        DataError: if files cannot be read.
    """
    parts = {name: _part(spec, folder, files) for name, files in index.parts.items()}
    val_images, val_labels = parts.get("val", (None, None))
    hashes = _fingerprints(spec, folder, index)
    return RawDataset(
        *parts["train"],
        *parts["test"],
        index.classes,
        hashes["fingerprint"],
        val_images,
        val_labels,
        training=hashes.get("training"),
    )


def _part(spec: DatasetSpec, folder: Path, files: Sequence[FileEntry]) -> tuple[FileImages, Labels]:
    labels = np.array([file.label for file in files], np.int64)
    return FileImages.of(spec, folder, (file.path for file in files)), labels


def _fingerprints(spec: DatasetSpec, folder: Path, index: FileIndex) -> dict[str, str]:
    cache = cache_root() / f"{spec.name}-files-{index.signature()}"
    content = read_manifest(cache)
    if content is None:
        with cache_lock(cache):
            content = read_manifest(cache)  # another process may have hashed them meanwhile
            if content is None:
                content = _hash_files(folder, index)
                with atomic_directory(cache) as temporary:
                    write_manifest(temporary, content)
    return content


def _hash_files(folder: Path, index: FileIndex) -> dict[str, str]:
    unreadable: list[str] = []

    def digest(file: FileEntry) -> tuple[str, int]:
        try:
            return file_hash(folder / file.path), file.label
        except OSError as error:
            unreadable.append(f"{file.path} {error.strerror}")
            return "", file.label

    with ThreadPoolExecutor(READERS) as pool:
        digests = {name: list(pool.map(digest, part)) for name, part in index.parts.items()}
    if unreadable:
        raise DataError(
            f"{folder.absolute()}: {len(unreadable):,} files cannot be read:\n"
            f"{listed(sorted(unreadable))}",
            "bad-images",
        )
    return fingerprints(digests)
