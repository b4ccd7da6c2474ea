"""Images in memory or in files (cached ones: image_cache.py). Imports no torch."""

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from PIL import Image

from ltbench.config.dataset import MAX_PIXELS, DatasetSpec
from ltbench.data.decode import (
    BadImageError,
    Pixels,
    decode,
    decode_pixels,
    pixels_of,
    read_file,
    resize_shorter,
)
from ltbench.data.errors import DataError, printable
from ltbench.data.subsample import Indices


class Images(Protocol):
    """Images of a part of a dataset, in order."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, positions: Indices) -> Self:
        """Return the images at positions, in that order."""

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of each image; None for any size."""

    def read(self, positions: Sequence[int]) -> list[Pixels]:
        """Return the pixels [H, W, C] of images, uint8, possibly memory-mapped.

        Raises:
            DataError: if an image cannot be read.
        """


@dataclass(frozen=True)
class InMemoryImages:
    """Images of one size in an array.

    Attributes:
        pixels: [N, C, H, W] uint8, possibly mapped from a file.
        paths: of the files that they were decoded from; None if not known.
    """

    pixels: Pixels
    paths: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, positions: Indices) -> "InMemoryImages":
        return InMemoryImages(self.pixels[positions])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def read(self, positions: Sequence[int]) -> list[Pixels]:
        """Return the pixels [H, W, C] of images."""
        return list(self.pixels[np.asarray(positions, np.int64)].transpose(0, 2, 3, 1))


@dataclass(frozen=True)
class DecodedImages:
    """Images of any size in memory.

    Attributes:
        pixels: [H, W, C] uint8 of each image.
    """

    pixels: tuple[Pixels, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, positions: Indices) -> "DecodedImages":
        return DecodedImages(tuple(self.pixels[position] for position in positions))

    @property
    def shape(self) -> None:
        """None: images are of any size."""
        return

    def read(self, positions: Sequence[int]) -> list[Pixels]:
        """Return the pixels [H, W, C] of images."""
        return [self.pixels[position] for position in positions]


class Readers:
    """Reads images in threads.

    Args:
        read: returns the image at a position.
        threads: their number; with one, images are read in the calling thread.
    """

    def __init__(self, read: Callable[[int], Pixels], threads: int) -> None:
        self.read = read
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __call__(self, positions: Sequence[int]) -> list[Pixels]:
        """Return images in order."""
        return list((self.pool.map if self.pool else map)(self.read, positions))


@dataclass(frozen=True)
class FileImages:
    """Images of any size in files, decoded at each read.

    Attributes:
        root: folder that paths are relative to.
        paths: of the images.
        channels: of the decoded images.
        size: required width and height; None for any.
        resize_shorter_side: pixels of the shorter side after resizing; None for no resizing.
        quality: of a JPEG round trip after resizing; None for none.
        threads: that decode.
        upright: whether images are turned upright by their Exif orientation.
        max_pixels: of the largest image that is decoded.
    """

    root: Path
    paths: tuple[str, ...]
    channels: int
    _: KW_ONLY
    resize_shorter_side: int | None = None
    quality: int | None = None
    threads: int = 1
    size: tuple[int, int] | None = None
    upright: bool = False
    max_pixels: int = MAX_PIXELS

    @classmethod
    def of(cls, spec: DatasetSpec, root: Path, paths: Iterable[str]) -> Self:
        """Return images of a dataset."""
        upright = spec.exif == "upright"
        return cls(root, tuple(paths), spec.channels, upright=upright, max_pixels=spec.max_pixels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, positions: Indices) -> "FileImages":
        return replace(self, paths=tuple(self.paths[position] for position in positions))

    @property
    def shape(self) -> None:
        """None: images are of any size."""
        return

    def read(self, positions: Sequence[int]) -> list[Pixels]:
        """Return the pixels [H, W, C] of images.

        Raises:
            DataError: if an image cannot be read.
        """
        return self._readers(positions)

    @cached_property
    def _readers(self) -> Readers:
        return Readers(self._read, self.threads)

    def _read(self, position: int) -> Pixels:
        try:
            return self.pixels(read_file(self.root / self.paths[position]))
        except BadImageError as error:
            path = printable(str(self.root / self.paths[position]))
            raise DataError(f"{path} {error}", "bad-images") from None

    def pixels(self, data: bytes) -> Pixels:
        """Return the pixels [H, W, C] of an image file's bytes.

        Raises:
            BadImageError: if it cannot be decoded.
        """
        image = self._resized(self.decode(data, self.size))
        if self.quality is None:
            return pixels_of(image)
        return decode_pixels(encode_jpeg(image, self.quality), self.channels)

    def open(self, path: str) -> Image.Image:
        """Decode one of the files, and resize its shorter side if wanted.

        Raises:
            BadImageError: if it cannot be decoded.
        """
        return self._resized(self.decode(read_file(self.root / path)))

    def _resized(self, image: Image.Image) -> Image.Image:
        side = self.resize_shorter_side
        return image if side is None else resize_shorter(image, side)

    def decode(self, data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
        """Decode a file's bytes; arguments and errors as of `decode`."""
        return decode(data, self.channels, size, upright=self.upright, max_pixels=self.max_pixels)


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode an image as JPEG with 4:2:0 chroma subsampling."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()
