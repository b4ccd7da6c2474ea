"""Where images of any size are read from, all with the same short side."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from PIL import Image

from ltbench.data.decode import (
    BadImageError,
    decode,
    decode_pixels,
    pixels_of,
    read_file,
    with_short_side,
)
from ltbench.data.errors import DataError, printable
from ltbench.data.pool import ImageFiles, Images


class ImageStore(Protocol):
    """Images by their position."""

    def load(self, positions: Sequence[int]) -> list[Images]:
        """Return images [H, W, C], uint8, possibly mapped from a file."""


def read_image(path: Path, channels: int, short_side: int) -> Image.Image:
    """Return an image from its file, with a given short side.

    Raises:
        BadImageError: saying why it cannot be read.
    """
    return with_short_side(decode(read_file(path), channels), short_side)


def through_jpeg(image: Image.Image, quality: int) -> bytes:
    """Return the JPEG of an image, its colours at half the resolution."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


class Readers:
    """Threads that read images at once, none where there is one.

    Args:
        read: returns the image at a position.
        threads: how many.
    """

    def __init__(self, read: Callable[[int], Images], threads: int) -> None:
        self.read = read
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __call__(self, positions: Sequence[int]) -> list[Images]:
        """Return images in order."""
        return list((self.pool.map if self.pool else map)(self.read, positions))


class FileStore:
    """Images that are decoded whenever they are asked for.

    Args:
        files: of the images.
        channels: that they are converted to.
        short_side: that they are resized to.
        threads: that decode at once.
        quality: of the JPEG that they go through after that; None for none.
    """

    def __init__(
        self,
        files: ImageFiles,
        channels: int,
        short_side: int,
        threads: int = 1,
        quality: int | None = None,
    ) -> None:
        self.files, self.channels = files, channels
        self.short_side, self.quality = short_side, quality
        self.readers = Readers(self._read, threads)

    def load(self, positions: Sequence[int]) -> list[Images]:
        """Return images [H, W, C].

        Raises:
            DataError: for one that cannot be read.
        """
        return self.readers(positions)

    def _read(self, position: int) -> Images:
        path = self.files.root / self.files.paths[position]
        try:
            image = read_image(path, self.channels, self.short_side)
        except BadImageError as error:
            raise DataError(f"{printable(str(path))} {error}", "bad-images") from None
        if self.quality is None:
            return pixels_of(image)
        return decode_pixels(through_jpeg(image, self.quality), self.channels)
