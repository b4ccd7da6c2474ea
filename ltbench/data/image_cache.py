"""Image cache: images of any size, decoded and resized once.

Jobs memory-map it. A cache is a folder below `cache_root()` whose name ends in a signature of all
that its pixels depend on: fingerprint of the dataset, file names, treatment of Exif orientations,
shorter side, JPEG quality, decoder. Each part (train, test) is divided into shards of consecutive
images: `train-00003.bin` holds their pixels [H, W, C], or their JPEGs, one after the other, and
`train-00003.json` their sizes. A cache is complete once it has a manifest; `cache_building.py`
builds it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from ltbench.config.dataset import BadImages, DatasetSpec
from ltbench.config.keys import content_hash
from ltbench.config.recipe import Recipe
from ltbench.data.decode import BadImageError, Pixels, decode_pixels, decoder
from ltbench.data.errors import DataError, listed
from ltbench.data.files import cache_root, read_complete, read_manifest
from ltbench.data.images import Readers
from ltbench.data.raw_dataset import RawDataset, exclude_images
from ltbench.data.sources import is_there, load_raw_dataset
from ltbench.data.subsample import Indices

LAYOUT = 3
"""Version of the cache's file layout."""

Form = tuple[int, int | None]
"""Shorter side of a cache's images, and JPEG quality; None for raw pixels."""


@dataclass(frozen=True, eq=False)
class CachedImages:
    """Images of any size in a cache.

    Attributes:
        shards: bytes of each shard of the part.
        shard: [N] index of each image's shard.
        starts, ends: [N] byte range of each image in its shard.
        sizes: [N, 2] height and width; 0 for excluded images.
        channels: of the images.
        jpeg: whether they are stored as JPEGs.
        threads: that decode JPEGs.
    """

    shards: Sequence[Pixels]
    shard: Indices
    starts: Indices
    ends: Indices
    sizes: Indices
    channels: int
    jpeg: bool
    threads: int

    @classmethod
    def open(
        cls, folder: Path, shards: Sequence[str], channels: int, *, jpeg: bool, threads: int
    ) -> Self:
        """Memory-map the shards of a part in order."""
        indices = [json.loads((folder / f"{name}.json").read_bytes()) for name in shards]
        lengths = [np.array(index["lengths"], np.int64) for index in indices]
        ends = np.concatenate([each.cumsum() for each in lengths])
        return cls(
            shards=[_mapped(folder / f"{name}.bin") for name in shards],
            shard=np.repeat(np.arange(len(shards)), [len(each) for each in lengths]),
            starts=ends - np.concatenate(lengths),
            ends=ends,
            sizes=np.concatenate([np.array(index["sizes"], np.int64) for index in indices]),
            channels=channels,
            jpeg=jpeg,
            threads=threads if jpeg else 1,
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, positions: Indices) -> Self:
        return replace(
            self,
            shard=self.shard[positions],
            starts=self.starts[positions],
            ends=self.ends[positions],
            sizes=self.sizes[positions],
        )

    @property
    def shape(self) -> None:
        """None: images are of any size."""
        return

    @property
    def excluded(self) -> Indices:
        """Positions of excluded images."""
        return np.flatnonzero(self.sizes[:, 0] == 0)

    def read(self, positions: Sequence[int]) -> list[Pixels]:
        """Return the pixels [H, W, C] of images; raw pixels are memory-mapped.

        Raises:
            DataError: for a damaged JPEG.
        """
        return self._readers(positions)

    @cached_property
    def _readers(self) -> Readers:
        return Readers(self._read, self.threads)

    def _read(self, position: int) -> Pixels:
        shard = self.shards[self.shard[position]]
        data: Pixels = shard[self.starts[position] : self.ends[position]]
        if not self.jpeg:
            height, width = self.sizes[position]
            return data.reshape(height, width, self.channels)
        try:
            return decode_pixels(data.tobytes(), self.channels)
        except BadImageError as error:
            raise DataError(
                f"an image of the cache {error}: run `ltbench data cache --verify`", "bad-cache"
            ) from None


def _mapped(path: Path) -> Pixels:
    """Memory-map the bytes of a file, which may be empty."""
    if path.stat().st_size == 0:
        return np.zeros(0, np.uint8)
    pixels: Pixels = np.memmap(path, np.uint8, "r").view(np.ndarray)
    return pixels


def cache_folder(
    spec: DatasetSpec, raw: RawDataset, resize_shorter_side: int, quality: int | None = None
) -> Path:
    """Return the folder of a dataset's cache; it need not exist."""
    files = [[str(part.root.absolute()), part.paths] for part in raw.files.values()]
    decoding = [LAYOUT, decoder(), spec.exif, spec.channels, resize_shorter_side, quality]
    signature = content_hash([*decoding, raw.fingerprint, files])[:16]
    return cache_root() / f"{spec.name}-{_form(resize_shorter_side, quality)}-{signature}"


def _form(resize_shorter_side: int, quality: int | None) -> str:
    return f"{resize_shorter_side}" if quality is None else f"{resize_shorter_side}-q{quality}"


def open_cache(
    spec: DatasetSpec,
    raw: RawDataset,
    resize_shorter_side: int,
    quality: int | None = None,
    threads: int = 1,
) -> tuple[dict[str, CachedImages], BadImages | None] | None:
    """Open a cache.

    Returns:
        Its images by part and the bad ones; None if the cache is missing or incomplete.
    """
    folder = cache_folder(spec, raw, resize_shorter_side, quality)
    content = read_complete(folder)
    if content is None:
        return None
    jpeg = quality is not None
    parts = {
        part: CachedImages.open(folder, shards, spec.channels, jpeg=jpeg, threads=threads)
        for part, shards in content["shards"].items()
    }
    return parts, _bad_images(raw, content["bad"], parts)


def _bad_images(
    raw: RawDataset, bad: Mapping[str, str], parts: Mapping[str, CachedImages]
) -> BadImages | None:
    """Return the bad images of a cache; None without any."""
    if not bad:
        return None
    positions = [
        [position for position, path in enumerate(raw.files[part].paths) if path in bad]
        for part in ("train", "test")
    ]
    return BadImages(
        on_bad="skip" if len(parts["train"].excluded) else "report",
        train=len(positions[0]),
        test=len(positions[1]),
        hash=content_hash(positions),
    )


def measure_bad_images(
    spec: DatasetSpec, forms: Iterable[Form], data_root: str | Path | None = None
) -> BadImages | None:
    """Return the bad images that a dataset's jobs are planned with.

    Pinned ones are returned without opening a cache; jobs check them when they open theirs.

    Args:
        spec: the dataset.
        forms: of the jobs' caches.
        data_root: folder of all datasets.

    Raises:
        DataError: if caches of the dataset have different bad images.
    """
    if spec.bad_images is not None or not spec.any_size:
        return spec.bad_images
    forms = list(forms)
    folders = [f for form in forms for f in cache_root().glob(f"{spec.name}-{_form(*form)}-*")]
    if not any((read_manifest(folder) or {}).get("bad") for folder in folders):
        return None
    if not is_there(spec, data_root):
        return None
    raw = load_raw_dataset(spec, data_root, download=False)
    caches = {form: open_cache(spec, raw, *form) for form in forms}
    bad_images = {form: cache[1] for form, cache in caches.items() if cache is not None}
    if len(set(bad_images.values())) > 1:
        lines = [
            f"{_form(*form)}: {bad or 'all images usable'}" for form, bad in bad_images.items()
        ]
        raise DataError(
            f"caches of {spec.name} differ in their bad images; build them again with the same "
            f"--on-bad:\n{listed(lines)}",
            "bad-cache",
        )
    return next(iter(bad_images.values()), None)


def open_images(spec: DatasetSpec, raw: RawDataset, recipe: Recipe, threads: int = 1) -> RawDataset:
    """Open a dataset's images as the jobs of a recipe read them.

    Images in files are read from their cache if it is complete, without those that it excludes.

    Args:
        spec: the dataset.
        raw: its images.
        recipe: for the shorter side and the JPEG quality.
        threads: that decode.

    Raises:
        DataError: if the recipe does not fit the images, or they are not those that the dataset is
            planned with.
    """
    side = recipe.resize_shorter_side
    if (side is None) == bool(raw.files):
        size, verb = ("any size", "needs") if raw.files else ("one size", "must not have")
        raise DataError(
            f"{spec.id} has images of {size}: recipe {recipe.name} {verb} resize_shorter_side",
            "conflict",
        )
    if side is None:
        return raw
    cache = open_cache(spec, raw, side, recipe.jpeg_quality, threads)
    bad = None if cache is None else cache[1]
    if bad != spec.bad_images:
        actual = "no cache" if cache is None else f"a cache with {bad or 'all images'}"
        raise DataError(
            f"{spec.name} was planned with {spec.bad_images or 'all images'}, but this machine has "
            f"{actual}: plan again on the machine that trains, or build the same cache here "
            "(`ltbench data cache`)",
            "mismatch",
        )
    if cache is None:
        return raw
    train, test = cache[0]["train"], cache[0]["test"]
    return replace(exclude_images(raw, train.excluded), train_images=train, test_images=test)
