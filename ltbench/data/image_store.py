"""Where images of any size are read from, all with the same short side."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from ltbench.data.decode import BadImageError, decode, with_short_side
from ltbench.data.errors import DataError, printable
from ltbench.data.pool import ImageFiles, Images


class ImageStore(Protocol):
    """Images by their position."""

    def load(self, positions: Sequence[int]) -> list[Images]:
        """Return images [H, W, C], uint8, possibly mapped from a file."""


def read_image(path: Path, channels: int, short_side: int) -> Images:
    """Return an image [H, W, C] from its file, with a given short side.

    Raises:
        BadImageError: saying why it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read: {error.strerror}") from None
    image = with_short_side(decode(data, channels), short_side)
    return np.atleast_3d(np.asarray(image))


class FileStore:
    """Images that are decoded whenever they are asked for.

    Args:
        files: of the images.
        channels: that they are converted to.
        short_side: that they are resized to.
        threads: that decode at once.
    """

    def __init__(self, files: ImageFiles, channels: int, short_side: int, threads: int = 1) -> None:
        self.files, self.channels, self.short_side = files, channels, short_side
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def load(self, positions: Sequence[int]) -> list[Images]:
        """Return images [H, W, C].

        Raises:
            DataError: for one that cannot be read.
        """
        each = map if self.pool is None else self.pool.map
        return list(each(self._read, positions))

    def _read(self, position: int) -> Images:
        path = self.files.root / self.files.paths[position]
        try:
            return read_image(path, self.channels, self.short_side)
        except BadImageError as error:
            raise DataError(f"{printable(str(path))} {error}") from None
