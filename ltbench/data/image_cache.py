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
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ltbench.config.keys import content_hash, file_hash
from ltbench.config.models import DatasetSpec
from ltbench.data.decode import MODES, BadImageError, decode_pixels, decoder
from ltbench.data.errors import DataError, OnBad, listed
from ltbench.data.files import MANIFEST, cache_root, locked, read_manifest, write_manifest
from ltbench.data.image_store import (
    FileStore,
    ImageStore,
    Readers,
    read_image,
    through_jpeg,
)
from ltbench.data.pool import ImageFiles, Images, Labels, Pool, without
from ltbench.results.workspace import read_json, write_json

LAYOUT = 2
"""Version of the cache's files."""

SHARD = 4096
"""Images of a shard: about 1 GB of pixels at a short side of 256."""


@dataclass(frozen=True)
class Built:
    """A cache that is whole: its folder, images and bytes, and why bad images are bad, by path."""

    folder: Path
    images: int
    bytes: int
    bad: Mapping[str, str]


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
                f"an image of the cache {error}: say `ltbench data cache --verify`"
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
    files = [[str(part.root), part.paths] for part in pool.files.values()]
    known = [LAYOUT, decoder(), pool.fingerprint, spec.channels, short_side, quality]
    signature = content_hash([*known, files])[:16]
    form = f"{short_side}" if quality is None else f"{short_side}-q{quality}"
    return cache_root() / f"{spec.name}-{form}-{signature}"


def open_cache(
    spec: DatasetSpec, pool: Pool, short_side: int, quality: int | None = None, threads: int = 1
) -> tuple[dict[str, CachedImages], int] | None:
    """Return the images of a cache by part, and how many are bad; None where it is not whole."""
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
    return parts, len(content["bad"])


def open_stores(
    spec: DatasetSpec, pool: Pool, short_side: int, quality: int | None = None, threads: int = 1
) -> tuple[Pool, Mapping[str, ImageStore], int]:
    """Return a dataset's images, by part from its cache where that is whole, else from their files.

    Args:
        spec: the dataset.
        pool: its images, which stay in files.
        short_side: pixels of the shorter side that they are resized to.
        quality: of the JPEG that they go through after that; None for none.
        threads: that decode at once.

    Returns:
        The pool without images that the cache left out; what images are read from, by part; the
        number of bad images that the cache knows of.
    """
    found = open_cache(spec, pool, short_side, quality, threads)
    if found is None:
        stores = {
            part: FileStore(files, spec.channels, short_side, threads, quality)
            for part, files in pool.files.items()
        }
        return pool, stores, 0
    parts, bad = found
    return without(pool, parts["train"].skipped), parts, bad


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
    with locked(folder.parent / f".{folder.name}.lock"):
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
                f"{listed([f'{path} {bad[path]}' for path in refused])}"
            )
        sizes = {p.name: p.stat().st_size for shard in shards for p in (shard.pixels, shard.index)}
        names = {part: [s.name for s in shards if s.part == part] for part in pool.files}
        write_manifest(folder, {"shards": names, "sizes": sizes, "bad": bad})
    images = sum(len(files.paths) for files in pool.files.values())
    return Built(folder, images, sum(sizes.values()), bad)


def drop_damaged(folder: Path) -> list[str]:
    """Remove the shards of a cache whose bytes are not those that were written, and name them."""
    damaged = []
    with locked(folder.parent / f".{folder.name}.lock"):
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
        with temporary.open("wb") as file:
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
    with closing(_written(missing, processes)) as written:
        for done, found in enumerate(written, whole + 1):
            progress(done, len(shards))
            bad |= found
    return bad


def _written(shards: Sequence[_Shard], processes: int) -> Generator[dict[str, str], None, None]:
    """Write shards, in several processes, and yield the bad images of each as it is finished.

    Whatever interrupts it, no other shard is begun; those under way are finished.
    """
    if min(processes, len(shards)) < 2:
        yield from (shard.write() for shard in shards)
        return
    workers = min(processes, len(shards))
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("forkserver"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is for the process that waits for them
    )
    try:
        running = [pool.submit(shard.write) for shard in shards]
        yield from (future.result() for future in as_completed(running))
    finally:
        pool.shutdown(cancel_futures=True)
