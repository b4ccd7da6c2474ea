"""Small images of one size, decoded once into a packed cache that jobs map into memory.

The cache stands under the dataset's name and a signature of the files (relative path, size, time of
change) and of the decoder: a folder that changed gets a new one. The fingerprint is over the files'
bytes and labels, not over pixels, which may differ by a gray level between decoders.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from ltbench.config.models import DatasetSpec
from ltbench.data.decode import BadImageError, decode, decoder, pixels_of, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import FileEntry, FileIndex, fingerprints
from ltbench.data.files import (
    atomic_directory,
    cache_root,
    making_cache,
    read_manifest,
    reserve,
    write_manifest,
)
from ltbench.data.images import InMemoryImages
from ltbench.data.raw_dataset import RawDataset

LAYOUT = 1
"""Version of the cache's files."""


def open_array_cache(spec: DatasetSpec, folder: Path, listing: FileIndex) -> RawDataset:
    """Return the listed images from the cache, which is made first where it is absent or damaged.

    Args:
        spec: says the images' size and channels.
        folder: that paths start from.
        listing: the files.

    Raises:
        DataError: with all bad images.
    """
    signature = listing.signature(LAYOUT, decoder(), spec.channels, spec.image_size)
    cache = cache_root() / f"{spec.name}-{signature}"
    raw = _open(cache)
    if raw is None:
        images = sum(len(files) for files in listing.parts.values())
        with making_cache(cache, images * spec.channels * spec.image_size**2):
            raw = _open(cache)  # another process may have made it while this one waited
            if raw is None:
                with atomic_directory(cache) as temporary:
                    _pack(spec, folder, listing, temporary)
                raw = _open(cache)
    if raw is None:
        raise DataError(f"{spec.name}: the cache {cache} cannot be read back", "bad-cache")
    return raw


def _open(cache: Path) -> RawDataset | None:
    """Return the images of a cache, or None where it is absent, incomplete or altered."""
    content = read_manifest(cache)
    if content is None:
        return None
    try:
        if any((cache / name).stat().st_size != size for name, size in content["sizes"].items()):
            return None
        parts = ["train", "test", *(["val"] if "val_images.npy" in content["sizes"] else [])]
        found: dict[str, Any] = {}
        for part in parts:
            found[f"{part}_images"] = InMemoryImages(_load(cache, f"{part}_images", mapped=True))
            found[f"{part}_labels"] = _load(cache, f"{part}_labels")
        names, known = tuple(content["classes"]), content["fingerprint"]
        training = content.get("training")
        return RawDataset(**found, class_names=names, fingerprint=known, training=training)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _load(cache: Path, name: str, *, mapped: bool = False) -> Any:
    return np.load(cache / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False)


def _pack(spec: DatasetSpec, folder: Path, listing: FileIndex, cache: Path) -> None:
    problems: list[str] = []
    digests = {
        name: _pack_part(spec, folder, name, files, cache, problems)
        for name, files in listing.parts.items()
    }
    if problems:
        raise DataError(
            f"{spec.name}: bad images in {folder.absolute()} ({len(problems)}):\n"
            f"{listed(problems)}",
            "bad-images",
        )
    content = {
        "classes": listing.classes,
        **fingerprints(digests),
        "decoder": decoder(),
        "sizes": {path.name: path.stat().st_size for path in sorted(cache.iterdir())},
    }
    write_manifest(cache, content)


def _pack_part(
    spec: DatasetSpec,
    folder: Path,
    name: str,
    files: Sequence[FileEntry],
    cache: Path,
    problems: list[str],
) -> list[tuple[str, int]]:
    """Write a part's images, labels and `sha256sum` list; return each file's SHA-256 and label."""
    shape = (len(files), spec.channels, spec.image_size, spec.image_size)
    path = cache / f"{name}_images.npy"
    images = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    reserve(path)
    digests = []
    for image, file in zip(images, files, strict=True):
        try:
            data = read_file(folder / file.path)
            digests.append((hashlib.sha256(data).hexdigest(), file.label))
            decoded = decode(data, spec.channels, (spec.image_size, spec.image_size))
            image[...] = pixels_of(decoded).transpose(2, 0, 1)
        except BadImageError as error:
            problems.append(f"{file.path}: {error}")
    if problems:
        return digests  # of what nobody will open
    images.flush()
    np.save(cache / f"{name}_labels.npy", np.array([file.label for file in files], np.int64))
    with (cache / f"{name}.sha256").open("w", errors="surrogateescape") as sums:
        for (digest, _), file in zip(digests, files, strict=True):
            sums.write(f"{digest}  {file.path}\n")
    return digests
