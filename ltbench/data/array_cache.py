"""Array cache: small images of one size, decoded once, memory-mapped by jobs.

The cache is named after the dataset and a signature of its files (relative path, size, ctime) and
of the decoder, so that a changed folder gets a new cache. The fingerprint is a hash of the files'
bytes and labels, not of pixels, which may differ by a gray level between decoders.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from ltbench.config.dataset import DatasetSpec
from ltbench.data.decode import BadImageError, decoder, pixels_of, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import FileEntry, FileIndex, fingerprints
from ltbench.data.files import (
    atomic_directory,
    cache_lock,
    cache_root,
    read_complete,
    reserve,
    write_manifest,
)
from ltbench.data.images import FileImages, InMemoryImages
from ltbench.data.raw_dataset import RawDataset

LAYOUT = 2
"""Version of the cache's file layout."""


def open_array_cache(spec: DatasetSpec, folder: Path, index: FileIndex) -> RawDataset:
    """Open a dataset's array cache; build it if missing or damaged.

    Args:
        spec: the dataset, for size and channels of the images.
        folder: that the paths of the index are relative to.
        index: of the image files.

    Raises:
        DataError: naming all bad images.
    """
    signature = index.signature(LAYOUT, decoder(), spec.exif, spec.channels, spec.image_size)
    cache = cache_root() / f"{spec.name}-{signature}"
    raw = _open(cache, index)
    if raw is None:
        images = sum(len(files) for files in index.parts.values())
        with cache_lock(cache, images * spec.channels * spec.image_size**2):
            raw = _open(cache, index)  # another process may have built it while this one waited
            if raw is None:
                with atomic_directory(cache) as temporary:
                    _build(spec, folder, index, temporary)
                raw = _open(cache, index)
    if raw is None:
        raise DataError(f"{spec.name}: the cache {cache} cannot be read back", "bad-cache")
    return raw


def _open(cache: Path, index: FileIndex) -> RawDataset | None:
    """Open a cache; return None if it is missing, incomplete or changed."""
    content = read_complete(cache)
    if content is None:
        return None
    try:
        arrays: dict[str, Any] = {}
        for part, files in index.parts.items():
            pixels = _load(cache, f"{part}_images", mapped=True)
            arrays[f"{part}_images"] = InMemoryImages(pixels, tuple(file.path for file in files))
            arrays[f"{part}_labels"] = _load(cache, f"{part}_labels")
        return RawDataset(
            **arrays,
            class_names=tuple(content["classes"]),
            fingerprint=content["fingerprint"],
            training=content.get("training"),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _load(cache: Path, name: str, *, mapped: bool = False) -> Any:
    return np.load(cache / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False)


def _build(spec: DatasetSpec, folder: Path, index: FileIndex, cache: Path) -> None:
    problems: list[str] = []
    digests = {
        name: _write_part(spec, folder, name, files, cache, problems)
        for name, files in index.parts.items()
    }
    if problems:
        raise DataError(
            f"{spec.name}: bad images in {folder.absolute()} ({len(problems)}):\n"
            f"{listed(problems)}",
            "bad-images",
        )
    content = {
        "classes": index.classes,
        **fingerprints(digests),
        "decoder": decoder(),
        "sizes": {path.name: path.stat().st_size for path in sorted(cache.iterdir())},
    }
    write_manifest(cache, content)


def _write_part(
    spec: DatasetSpec,
    folder: Path,
    name: str,
    files: Sequence[FileEntry],
    cache: Path,
    problems: list[str],
) -> list[tuple[str, int]]:
    """Write a part's arrays; return each file's SHA-256 and label."""
    shape = (len(files), spec.channels, spec.image_size, spec.image_size)
    path = cache / f"{name}_images.npy"
    images = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    reserve(path)
    reader = FileImages.of(spec, folder, (file.path for file in files))
    digests = []
    for image, file in zip(images, files, strict=True):
        try:
            data = read_file(folder / file.path)
            digests.append((hashlib.sha256(data).hexdigest(), file.label))
            decoded = reader.decode(data, (spec.image_size, spec.image_size))
            image[...] = pixels_of(decoded).transpose(2, 0, 1)
        except BadImageError as error:
            problems.append(f"{file.path}: {error}")
    if problems:
        return digests  # the cache will be discarded
    images.flush()
    np.save(cache / f"{name}_labels.npy", np.array([file.label for file in files], np.int64))
    with (cache / f"{name}.sha256").open("w", errors="surrogateescape") as sums:
        for (digest, _), file in zip(digests, files, strict=True):
            sums.write(f"{digest}  {file.path}\n")
    return digests
