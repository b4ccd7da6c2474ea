"""Images of any size, decoded and resized once: packed into a few large files, mapped by jobs.

A cache is a folder below `cache_root()` whose name ends in a signature of all that its pixels
depend on: the dataset's fingerprint, the files' names, the short side, the quality, the decoder.
Each part (training, test) is cut into shards of consecutive images: `train-00003.bin` has their
pixels [H, W, C], or their JPEGs, one after the other and `train-00003.json` their sizes. A shard is
whole once its `.json` is there, so that a build that was interrupted goes on with the others; the
cache is whole once its manifest is there. Shards with bad images are written anew whenever the
cache is built again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ltbench.config.keys import content_hash, file_hash
from ltbench.config.models import BadImages, DatasetSpec, Recipe
from ltbench.core.files import read_json, write_json
from ltbench.data.decode import MODES, BadImageError, decode_pixels, decoder
from ltbench.data.errors import DataError, OnBad, listed
from ltbench.data.files import (
    MANIFEST,
    cache_root,
    making_cache,
    read_manifest,
    removed_on_error,
    write_manifest,
)
from ltbench.data.image_store import (
    FileStore,
    ImageStore,
    Readers,
    read_image,
    through_jpeg,
)
from ltbench.data.parallel import spread
from ltbench.data.pool import ImageFiles, Images, Labels, Pool, without
from ltbench.data.sources import is_there, load_pool

LAYOUT = 2
"""Version of the cache's files."""

SHARD = 4096
"""Images of a shard: about 1 GB of pixels at a short side of 256."""

Form = tuple[int, int | None]
"""Short side of a cache's images, and the quality of its JPEGs; None for pixels."""


@dataclass(frozen=True)
class Built:
    """A cache that is whole.

    Attributes:
        folder, images, bytes: where it lies, and what it holds.
        bad: why bad images are bad, by path.
        bad_images: these, as a dataset's configuration may pin them.
    """

    folder: Path
    images: int
    bytes: int
    bad: Mapping[str, str]
    bad_images: BadImages | None


class CachedImages:
    """The images of a part of a cache.

    Args:
        folder: of the cache.
        shards: of the part, in order.
        channels: of the images.
        packed: whether they are JPEGs.
        threads: that decode these at once.

    Attributes:
        skipped: [S] positions of images that were left out.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[str],
        channels: int,
        *,
        packed: bool = False,
        threads: int = 1,
    ) -> None:
        self.channels, self.packed = channels, packed
        self.readers = Readers(self._image, threads if packed else 1)
        self.shards: list[Images] = [_mapped(folder / f"{name}.bin") for name in shards]
        indices = [json.loads((folder / f"{name}.json").read_bytes()) for name in shards]
        sizes = [np.array(index["sizes"], np.int64) for index in indices]
        lengths = [np.array(index["lengths"], np.int64) for index in indices]
        self.sizes = np.concatenate(sizes)  # [N, 2], 0 where an image was left out
        self.ends = np.concatenate([each.cumsum() for each in lengths])
        self.starts = self.ends - np.concatenate(lengths)
        self.shard_of = np.repeat(np.arange(len(shards)), [len(each) for each in sizes])
        self.skipped: Labels = np.flatnonzero(self.sizes[:, 0] == 0)

    def load(self, positions: Sequence[int]) -> list[Images]:
        """Return images [H, W, C], mapped from the cache where they are not packed.

        Raises:
            DataError: for a JPEG that is damaged.
        """
        return self.readers(positions)

    def _image(self, position: int) -> Images:
        shard = self.shards[self.shard_of[position]]
        data: Images = shard[self.starts[position] : self.ends[position]]
        if not self.packed:
            height, width = self.sizes[position]
            return data.reshape(height, width, self.channels)
        try:
            return decode_pixels(data.tobytes(), self.channels)
        except BadImageError as error:
            raise DataError(
                f"an image of the cache {error}: say `ltbench data cache --verify`", "bad-cache"
            ) from None


def _mapped(path: Path) -> Images:
    """Return the bytes of a file without reading them; there may be none."""
    if path.stat().st_size == 0:
        return np.zeros(0, np.uint8)
    pixels: Images = np.memmap(path, np.uint8, "r").view(np.ndarray)
    return pixels


def cache_folder(
    spec: DatasetSpec, pool: Pool, short_side: int, quality: int | None = None
) -> Path:
    """Return the folder of a dataset's cache, whether it is there or not."""
    files = [[str(part.root.absolute()), part.paths] for part in pool.files.values()]
    known = [LAYOUT, decoder(), pool.fingerprint, spec.channels, short_side, quality]
    signature = content_hash([*known, files])[:16]
    return cache_root() / f"{spec.name}-{_form(short_side, quality)}-{signature}"


def _form(short_side: int, quality: int | None) -> str:
    return f"{short_side}" if quality is None else f"{short_side}-q{quality}"


def open_cache(
    spec: DatasetSpec, pool: Pool, short_side: int, quality: int | None = None, threads: int = 1
) -> tuple[dict[str, CachedImages], BadImages | None] | None:
    """Return the images of a cache by part, and which are bad; None where it is not whole."""
    folder = cache_folder(spec, pool, short_side, quality)
    content = read_manifest(folder)
    if content is None:
        return None
    try:
        if any((folder / name).stat().st_size != n for name, n in content["sizes"].items()):
            return None
    except OSError:
        return None
    parts = {
        part: CachedImages(
            folder, shards, spec.channels, packed=quality is not None, threads=threads
        )
        for part, shards in content["shards"].items()
    }
    return parts, _bad_images(pool, content["bad"], parts)


def _bad_images(
    pool: Pool, bad: Mapping[str, str], parts: Mapping[str, CachedImages]
) -> BadImages | None:
    """Return which images of a cache are bad, and whether it left them out; None without any."""
    if not bad:
        return None
    places = [
        [position for position, path in enumerate(pool.files[part].paths) if path in bad]
        for part in ("train", "test")
    ]
    return BadImages(
        on_bad="skip" if len(parts["train"].skipped) else "report",
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
    pool = load_pool(spec, data_root, download=False)
    opened = {form: open_cache(spec, pool, *form) for form in forms}
    found = {form: cache[1] for form, cache in opened.items() if cache is not None}
    if len(set(found.values())) > 1:
        lines = [f"{_form(*form)}: {bad or 'all images usable'}" for form, bad in found.items()]
        raise DataError(
            f"{spec.name} has caches that differ in what they left out; build them again with the "
            f"same --on-bad:\n{listed(lines)}",
            "bad-cache",
        )
    return next(iter(found.values()), None)


def open_stores(
    spec: DatasetSpec, pool: Pool, short_side: int, quality: int | None = None, threads: int = 1
) -> tuple[Pool, Mapping[str, ImageStore]]:
    """Return a dataset's images, by part from its cache where that is whole, else from their files.

    Args:
        spec: the dataset.
        pool: its images, which stay in files.
        short_side: pixels of the shorter side that they are resized to.
        quality: of the JPEG that they go through after that; None for none.
        threads: that decode at once.

    Returns:
        The pool without images that the cache left out; what images are read from, by part.

    Raises:
        DataError: where these are not the images that the dataset is planned with.
    """
    found = open_cache(spec, pool, short_side, quality, threads)
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
        return pool, {
            part: FileStore(files, spec.channels, short_side, threads, quality)
            for part, files in pool.files.items()
        }
    return without(pool, found[0]["train"].skipped), found[0]


def open_images(
    spec: DatasetSpec, pool: Pool, recipe: Recipe, threads: int = 1
) -> tuple[Pool, Mapping[str, ImageStore]]:
    """Return a dataset's images as `open_stores` does, for a recipe; none are opened in memory.

    Raises:
        DataError: where the recipe is for images of another kind, or as of `open_stores`.
    """
    side = recipe.short_side
    if (side is None) == bool(pool.files):
        have = "any size" if pool.files else "one size"
        raise DataError(f"{spec.id} has images of {have}, {recipe.name} is for others", "conflict")
    if side is None:
        return pool, {}
    return open_stores(spec, pool, side, recipe.jpeg_quality, threads)


def build_cache(
    spec: DatasetSpec,
    pool: Pool,
    short_side: int,
    *,
    quality: int | None = None,
    processes: int = 1,
    on_bad: OnBad = "error",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Built:
    """Make a dataset's cache, or what is missing of it.

    Args:
        spec: the dataset.
        pool: its images, which stay in files.
        short_side: pixels of the shorter side of the resized images.
        quality: of the JPEGs that they are packed as; None for pixels.
        processes: that decode at once.
        on_bad: what becomes of images that cannot be decoded.
        progress: called with the shards done and all of them.

    Raises:
        DataError: naming all images that cannot be decoded, where that is an error.
    """
    folder = cache_folder(spec, pool, short_side, quality)
    least = sum(len(files.paths) for files in pool.files.values()) * spec.channels * short_side**2
    there = sum(path.stat().st_size for path in folder.glob("*.bin"))
    with making_cache(folder, max(least - there, 0) if quality is None else 0):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*"):
            left.unlink()  # half-written by a process that was killed
        shards = [
            _Shard(folder, part, first // SHARD, some, spec.channels, short_side, quality, on_bad)
            for part, files in pool.files.items()
            for first in range(0, len(files.paths), SHARD)
            for some in [ImageFiles(files.root, files.paths[first : first + SHARD])]
        ]
        bad = _write_all(shards, processes, progress)
        tested = set(pool.files["test"].paths)
        refused = [
            path for path in bad if on_bad == "error" or (on_bad == "skip" and path in tested)
        ]
        if refused:
            raise DataError(
                f"{spec.name}: {len(refused):,} images cannot be used:\n"
                f"{listed([f'{path} {bad[path]}' for path in refused])}",
                "bad-images",
            )
        sizes = {p.name: p.stat().st_size for shard in shards for p in (shard.pixels, shard.index)}
        names = {part: [s.name for s in shards if s.part == part] for part in pool.files}
        write_manifest(folder, {"shards": names, "sizes": sizes, "bad": bad})
        cache = open_cache(spec, pool, short_side, quality)
        if cache is None:
            raise DataError(f"{spec.name}: the cache {folder} cannot be read back", "bad-cache")
    images = sum(len(files.paths) for files in pool.files.values())
    return Built(folder, images, sum(sizes.values()), bad, cache[1])


def drop_damaged(folder: Path) -> list[str]:
    """Remove the shards of a cache whose bytes are not those that were written, and name them."""
    damaged = []
    with making_cache(folder):
        for index in sorted(folder.glob("*-*.json")):
            pixels = index.with_suffix(".bin")
            known = read_json(index)
            if known is None or not pixels.exists() or file_hash(pixels) != known["sha256"]:
                (folder / MANIFEST).unlink(missing_ok=True)
                index.unlink()
                damaged.append(index.stem)
    return damaged


@dataclass(frozen=True)
class _Shard:
    """Consecutive images of a part, and what a process needs to know to write them."""

    folder: Path
    part: str
    number: int
    files: ImageFiles
    channels: int
    short_side: int
    quality: int | None
    on_bad: OnBad

    @property
    def name(self) -> str:
        return f"{self.part}-{self.number:05d}"

    @property
    def pixels(self) -> Path:
        return self.folder / f"{self.name}.bin"

    @property
    def index(self) -> Path:
        return self.folder / f"{self.name}.json"

    def is_whole(self) -> bool:
        """Return whether the shard is there, all its images sound."""
        known: dict[str, Any] | None = read_json(self.index)
        return (
            known is not None
            and not known["bad"]
            and self.pixels.exists()
            and self.pixels.stat().st_size == known["bytes"]
        )

    def write(self) -> dict[str, str]:
        """Write the shard and return its bad images; it is not finished where they are an error."""
        sizes: list[tuple[int, int]] = []
        lengths: list[int] = []
        bad: dict[str, str] = {}
        digest = hashlib.sha256()
        temporary = self.folder / f".{self.pixels.name}"
        with removed_on_error(temporary), temporary.open("wb") as file:
            for path in self.files.paths:
                try:
                    image = read_image(self.files.root / path, self.channels, self.short_side)
                except BadImageError as error:
                    bad[path] = str(error)
                    side = self.short_side if self.on_bad == "report" else 0
                    image = Image.new(MODES[self.channels], (side, side))
                data = self._packed(image)
                file.write(data)
                digest.update(data)
                sizes.append((image.height, image.width))
                lengths.append(len(data))
        if bad and self.on_bad == "error":
            temporary.unlink()
            return bad
        written = {"bytes": temporary.stat().st_size, "sha256": digest.hexdigest()}
        temporary.replace(self.pixels)
        write_json(self.index, {"sizes": sizes, "lengths": lengths, "bad": len(bad), **written})
        return bad

    def _packed(self, image: Image.Image) -> bytes:
        if self.quality is None or not image.width:
            return image.tobytes()
        return through_jpeg(image, self.quality)


def _write_all(
    shards: Sequence[_Shard], processes: int, progress: Callable[[int, int], None]
) -> dict[str, str]:
    """Write the shards that are not whole; return all bad images."""
    missing = [shard for shard in shards if not shard.is_whole()]
    whole = len(shards) - len(missing)
    progress(whole, len(shards))
    bad: dict[str, str] = {}
    with closing(spread(_Shard.write, missing, processes)) as written:
        for done, found in enumerate(written, whole + 1):
            progress(done, len(shards))
            bad |= found
    return bad
