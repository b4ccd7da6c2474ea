"""Building of a cache of images (image_cache.py): shard by shard, in several processes.

A shard is whole once its `.json` is there, so that a build that was interrupted goes on with the
others. Shards with bad images are written anew whenever the cache is built again.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ltbench.config.keys import file_hash
from ltbench.config.models import BadImages, DatasetSpec
from ltbench.core.files import read_json, write_json
from ltbench.data.decode import MODES, BadImageError
from ltbench.data.errors import DataError, OnBad, listed
from ltbench.data.files import MANIFEST, making_cache, removed_on_error, write_manifest
from ltbench.data.image_cache import cache_folder, open_cache
from ltbench.data.images import FileImages, encode_jpeg, read_image
from ltbench.data.parallel import spread
from ltbench.data.raw_dataset import RawDataset

SHARD = 4096
"""Images of a shard: about 1 GB of pixels at a short side of 256."""


@dataclass(frozen=True)
class CacheReport:
    """What a cache that is whole holds.

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


def build_cache(
    spec: DatasetSpec,
    raw: RawDataset,
    resize_shorter_side: int,
    *,
    quality: int | None = None,
    processes: int = 1,
    on_bad: OnBad = "error",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> CacheReport:
    """Make a dataset's cache, or what is missing of it.

    Args:
        spec: the dataset.
        raw: its images, which stay in files.
        resize_shorter_side: pixels of the shorter side of the resized images.
        quality: of the JPEGs that they are packed as; None for pixels.
        processes: that decode at once.
        on_bad: what becomes of images that cannot be decoded.
        progress: called with the shards done and all of them.

    Raises:
        DataError: naming all images that cannot be decoded, where that is an error.
    """
    folder = cache_folder(spec, raw, resize_shorter_side, quality)
    images = sum(map(len, raw.files.values()))
    least = images * spec.channels * resize_shorter_side**2
    there = sum(path.stat().st_size for path in folder.glob("*.bin"))
    with making_cache(folder, max(least - there, 0) if quality is None else 0):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*"):
            left.unlink()  # half-written by a process that was killed
        shards = [
            _Shard(folder, part, number, some, resize_shorter_side, quality, on_bad)
            for part, files in raw.files.items()
            for number, some in enumerate(_in_shards(files))
        ]
        bad = _write_all(shards, processes, progress)
        tested = set(raw.files["test"].paths)
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
        names = {part: [s.name for s in shards if s.part == part] for part in raw.files}
        write_manifest(folder, {"shards": names, "sizes": sizes, "bad": bad})
        cache = open_cache(spec, raw, resize_shorter_side, quality)
        if cache is None:
            raise DataError(f"{spec.name}: the cache {folder} cannot be read back", "bad-cache")
    return CacheReport(folder, images, sum(sizes.values()), bad, cache[1])


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


def _in_shards(files: FileImages) -> Iterator[FileImages]:
    for first in range(0, len(files), SHARD):
        yield replace(files, paths=files.paths[first : first + SHARD])


@dataclass(frozen=True)
class _Shard:
    """Consecutive images of a part, and what a process needs to know to write them."""

    folder: Path
    part: str
    number: int
    files: FileImages
    resize_shorter_side: int
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
        files = self.files
        sizes: list[tuple[int, int]] = []
        lengths: list[int] = []
        bad: dict[str, str] = {}
        digest = hashlib.sha256()
        temporary = self.folder / f".{self.pixels.name}"
        with removed_on_error(temporary), temporary.open("wb") as file:
            for path in files.paths:
                try:
                    image = read_image(files.root / path, files.channels, self.resize_shorter_side)
                except BadImageError as error:
                    bad[path] = str(error)
                    side = self.resize_shorter_side if self.on_bad == "report" else 0
                    image = Image.new(MODES[files.channels], (side, side))
                data = _stored(image, self.quality)
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


def _stored(image: Image.Image, quality: int | None) -> bytes:
    """Return the pixels of an image, or its JPEG; nothing of one that is left out."""
    if quality is None or not image.width:
        return image.tobytes()
    return encode_jpeg(image, quality)


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
