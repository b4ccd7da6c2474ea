"""Building of an image cache (image_cache.py), shard by shard, in several processes.

A shard is complete once its `.json` exists, so that an interrupted build resumes with the others.
Shards with bad images are written again in every build.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ltbench.config.dataset import BadImages, DatasetSpec
from ltbench.config.keys import file_hash
from ltbench.core.files import read_json, write_json
from ltbench.data.decode import MODES, BadImageError
from ltbench.data.errors import DataError, OnBad, listed
from ltbench.data.files import MANIFEST, cache_lock, removed_on_error, write_manifest
from ltbench.data.image_cache import cache_folder, open_cache
from ltbench.data.images import FileImages, encode_jpeg
from ltbench.data.parallel import run_in_processes
from ltbench.data.raw_dataset import RawDataset

SHARD = 4096
"""Images of a shard: about 1 GB of pixels at a shorter side of 256."""


@dataclass(frozen=True)
class CacheReport:
    """Contents of a complete cache.

    Attributes:
        folder: of the cache.
        images, bytes: number of images, and their size in the cache.
        bad: reason why an image is bad, by path.
        bad_images: the bad images as a dataset's configuration may pin them; None without any.
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
    """Build a dataset's cache, or the shards that are missing.

    Args:
        spec: the dataset.
        raw: its images, in files.
        resize_shorter_side: pixels of the shorter side after resizing.
        quality: JPEG quality of the cached images; None for raw pixels.
        processes: number of processes that decode.
        on_bad: how to treat images that cannot be decoded.
        progress: called with the number of shards done and of all shards.

    Raises:
        DataError: naming all bad images, if bad images are an error.
    """
    folder = cache_folder(spec, raw, resize_shorter_side, quality)
    images = sum(map(len, raw.files.values()))
    least = images * spec.channels * resize_shorter_side**2
    written = sum(path.stat().st_size for path in folder.glob("*.bin"))
    with cache_lock(folder, max(least - written, 0) if quality is None else 0):
        folder.mkdir(parents=True, exist_ok=True)
        for temporary in folder.glob(".*"):
            temporary.unlink()  # left by a process that was killed
        shards = [
            _Shard(folder, part, number, chunk, resize_shorter_side, quality, on_bad)
            for part, files in raw.files.items()
            for number, chunk in enumerate(_in_shards(files))
        ]
        bad = _write_all(shards, processes, progress)
        test_paths = set(raw.files["test"].paths)
        rejected = [
            path for path in bad if on_bad == "error" or (on_bad == "skip" and path in test_paths)
        ]
        if rejected:
            raise DataError(
                f"{spec.name}: {len(rejected):,} images cannot be used:\n"
                f"{listed([f'{path} {bad[path]}' for path in rejected])}",
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
    """Remove the corrupt shards of a cache; return their names."""
    damaged = []
    with cache_lock(folder):
        for index in sorted(folder.glob("*-*.json")):
            pixels = index.with_suffix(".bin")
            content = read_json(index)
            if content is None or not pixels.exists() or file_hash(pixels) != content["sha256"]:
                (folder / MANIFEST).unlink(missing_ok=True)
                index.unlink()
                damaged.append(index.stem)
    return damaged


def _in_shards(files: FileImages) -> Iterator[FileImages]:
    for first in range(0, len(files), SHARD):
        yield replace(files, paths=files.paths[first : first + SHARD])


@dataclass(frozen=True)
class _Shard:
    """Consecutive images of a part, written by one process."""

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

    def is_complete(self) -> bool:
        """Return whether the shard is written, without bad images."""
        content: dict[str, Any] | None = read_json(self.index)
        return (
            content is not None
            and not content["bad"]
            and self.pixels.exists()
            and self.pixels.stat().st_size == content["bytes"]
        )

    def write(self) -> dict[str, str]:
        """Write the shard; return the reasons of its bad images by path.

        With `on_bad="error"` a shard with bad images is not finished.
        """
        files = replace(self.files, resize_shorter_side=self.resize_shorter_side)
        sizes: list[tuple[int, int]] = []
        lengths: list[int] = []
        bad: dict[str, str] = {}
        digest = hashlib.sha256()
        temporary = self.folder / f".{self.pixels.name}"
        with removed_on_error(temporary), temporary.open("wb") as file:
            for path in files.paths:
                try:
                    image = files.open(path)
                except BadImageError as error:
                    bad[path] = str(error)
                    side = self.resize_shorter_side if self.on_bad == "report" else 0
                    image = Image.new(MODES[files.channels], (side, side))
                data = _encode(image, self.quality)
                file.write(data)
                digest.update(data)
                sizes.append((image.height, image.width))
                lengths.append(len(data))
        if bad and self.on_bad == "error":
            temporary.unlink()
            return bad
        facts = {"bytes": temporary.stat().st_size, "sha256": digest.hexdigest()}
        temporary.replace(self.pixels)
        write_json(self.index, {"sizes": sizes, "lengths": lengths, "bad": len(bad), **facts})
        return bad


def _encode(image: Image.Image, quality: int | None) -> bytes:
    """Return an image's pixels or JPEG; empty if it is excluded."""
    if quality is None or not image.width:
        return image.tobytes()
    return encode_jpeg(image, quality)


def _write_all(
    shards: Sequence[_Shard], processes: int, progress: Callable[[int, int], None]
) -> dict[str, str]:
    """Write the incomplete shards; return all bad images."""
    missing = [shard for shard in shards if not shard.is_complete()]
    complete = len(shards) - len(missing)
    progress(complete, len(shards))
    bad: dict[str, str] = {}
    with closing(run_in_processes(_Shard.write, missing, processes)) as results:
        for done, bad_of_shard in enumerate(results, complete + 1):
            progress(done, len(shards))
            bad |= bad_of_shard
    return bad
