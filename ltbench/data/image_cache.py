"""Images of any size, decoded and resized once: packed into a few large files, mapped by jobs.

A cache is a folder below `cache_root()` whose name ends in a signature of all that its pixels
depend on: the dataset's fingerprint, the files' names, the short side, the quality, the decoder.
Each part (training, test) is cut into shards of consecutive images: `train-00003.bin` has their
pixels [H, W, C], or their JPEGs, one after the other and `train-00003.json` their sizes. The cache
is whole once its manifest is there; `cache_building.py` makes it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from ltbench.config.keys import content_hash
from ltbench.config.models import BadImages, DatasetSpec, Recipe
from ltbench.data.decode import BadImageError, Pixels, decode_pixels, decoder
from ltbench.data.errors import DataError, listed
from ltbench.data.files import cache_root, read_manifest
from ltbench.data.images import Readers
from ltbench.data.raw_dataset import RawDataset, exclude_images
from ltbench.data.sources import is_there, load_raw_dataset
from ltbench.data.subsample import Indices

LAYOUT = 2
"""Version of the cache's files."""

Form = tuple[int, int | None]
"""Short side of a cache's images, and the quality of its JPEGs; None for pixels."""


@dataclass(frozen=True, eq=False)
class CachedImages:
    """Images of any size in a cache.

    Attributes:
        shards: bytes of the shards of a part.
        shard: [N] the shard of each image.
        starts, ends: [N] its bytes there.
        sizes: [N, 2] its height and width; 0 where it was left out.
        channels: of the images.
        jpeg: whether they are JPEGs.
        threads: that decode these at once.
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
        """Map the shards of a part of a cache, in order."""
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
        """Images are of any size."""
        return

    @property
    def excluded(self) -> Indices:
        """Positions of images that were left out."""
        return np.flatnonzero(self.sizes[:, 0] == 0)

    def read(self, positions: Sequence[int]) -> list[Pixels]:
        """Return the pixels [H, W, C] of some images, mapped from the cache but for JPEGs.

        Raises:
            DataError: for a JPEG that is damaged.
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
                f"an image of the cache {error}: say `ltbench data cache --verify`", "bad-cache"
            ) from None


def _mapped(path: Path) -> Pixels:
    """Return the bytes of a file without reading them; there may be none."""
    if path.stat().st_size == 0:
        return np.zeros(0, np.uint8)
    pixels: Pixels = np.memmap(path, np.uint8, "r").view(np.ndarray)
    return pixels


def cache_folder(
    spec: DatasetSpec, raw: RawDataset, resize_shorter_side: int, quality: int | None = None
) -> Path:
    """Return the folder of a dataset's cache, whether it is there or not."""
    files = [[str(part.root.absolute()), part.paths] for part in raw.files.values()]
    known = [LAYOUT, decoder(), raw.fingerprint, spec.channels, resize_shorter_side, quality]
    signature = content_hash([*known, files])[:16]
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
    """Return the images of a cache by part, and which are bad; None where it is not whole."""
    folder = cache_folder(spec, raw, resize_shorter_side, quality)
    content = read_manifest(folder)
    if content is None:
        return None
    try:
        if any((folder / name).stat().st_size != n for name, n in content["sizes"].items()):
            return None
    except OSError:
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
    """Return which images of a cache are bad, and whether it left them out; None without any."""
    if not bad:
        return None
    places = [
        [position for position, path in enumerate(raw.files[part].paths) if path in bad]
        for part in ("train", "test")
    ]
    return BadImages(
        on_bad="skip" if len(parts["train"].excluded) else "report",
        train=len(places[0]),
        test=len(places[1]),
        hash=content_hash(places),
    )


def measure_bad_images(
    spec: DatasetSpec, forms: Iterable[Form], data_root: str | Path | None = None
) -> BadImages | None:
    """Return the bad images that jobs on a dataset are planned with, as cheaply as possible.

    The pinned ones are believed without a look (jobs check them when they open their cache).

    Args:
        spec: the dataset.
        forms: of the caches that jobs read.
        data_root: folder of all datasets.

    Raises:
        DataError: where caches of the dataset left out, or blackened, other images.
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
    opened = {form: open_cache(spec, raw, *form) for form in forms}
    found = {form: cache[1] for form, cache in opened.items() if cache is not None}
    if len(set(found.values())) > 1:
        lines = [f"{_form(*form)}: {bad or 'all images usable'}" for form, bad in found.items()]
        raise DataError(
            f"{spec.name} has caches that differ in what they left out; build them again with the "
            f"same --on-bad:\n{listed(lines)}",
            "bad-cache",
        )
    return next(iter(found.values()), None)


def open_images(spec: DatasetSpec, raw: RawDataset, recipe: Recipe, threads: int = 1) -> RawDataset:
    """Return a dataset with its training and test images as a recipe's jobs read them.

    Those in files come from their cache where that is whole, without what it left out.

    Args:
        spec: the dataset.
        raw: its images.
        recipe: for the short side and the JPEG quality.
        threads: that decode at once.

    Raises:
        DataError: where the recipe is for images of another kind, or these are not the images that
            the dataset is planned with.
    """
    side = recipe.resize_shorter_side
    if (side is None) == bool(raw.files):
        have = "any size" if raw.files else "one size"
        raise DataError(f"{spec.id} has images of {have}, {recipe.name} is for others", "conflict")
    if side is None:
        return raw
    found = open_cache(spec, raw, side, recipe.jpeg_quality, threads)
    bad = None if found is None else found[1]
    if bad != spec.bad_images:
        here = "no cache here" if found is None else f"the cache here has {bad or 'all images'}"
        raise DataError(
            f"{spec.name} was planned with {spec.bad_images or 'all images'}, {here}: these are "
            "other training images. Plan again where jobs run, or build the cache here as there "
            "(`ltbench data cache`)",
            "mismatch",
        )
    if found is None:
        return raw
    train, test = found[0]["train"], found[0]["test"]
    return replace(exclude_images(raw, train.excluded), train_images=train, test_images=test)
