"""From the bytes of an image file to pixels, or a word on what is wrong with it.

Where simplejpeg is installed it decodes what is plainly a color JPEG, to the same pixels in less
time; PIL decodes all else, and says what is wrong.
"""

import io
from importlib import metadata
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "GIF", "WEBP", "TIFF")
"""What PIL may decode: formats that start no other program."""

MODES = {1: "L", 3: "RGB"}


class BadImageError(Exception):
    """An image cannot be decoded or is not like the others; the message says why."""


def decoder() -> dict[str, str | None]:
    """Return the versions that pixels may depend on."""
    versions = {"pillow": PIL.__version__, "jpeg": features.version("jpg")}
    return versions | ({"simplejpeg": metadata.version("simplejpeg")} if simplejpeg else {})


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        BadImageError: where it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read: {error.strerror}") from None


def decode(data: bytes, channels: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Return the image of a file's bytes, whatever its name said; orientation tags are ignored.

    Args:
        data: the file's.
        channels: 1 for gray, 3 for color, which others are converted to.
        size: width and height that it must have; None for any.

    Raises:
        BadImageError: for what is no image, is damaged, has another size or more than 8 bits.
    """
    if not data:
        raise BadImageError("is empty")
    plain = _plain_jpeg(data, channels)
    if plain is not None and size in (None, plain.shape[1::-1]):
        return Image.fromarray(plain)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if size is not None and image.size != size:
                width, height = image.size
                raise BadImageError(f"is {width}x{height}, not {size[0]}x{size[1]}")
            if image.mode.startswith(("I", "F")):
                raise BadImageError(f"has more than 8 bits a channel (mode {image.mode})")
            return image.convert(MODES[channels])
    except UnidentifiedImageError:
        raise BadImageError("is not an image") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImageError(f"is damaged: {error}") from None


def decode_pixels(data: bytes, channels: int) -> Pixels:
    """Return the pixels [H, W, C] of a file's bytes, as `decode` has them, and its errors."""
    plain = _plain_jpeg(data, channels)
    return pixels_of(decode(data, channels)) if plain is None else plain


def pixels_of(image: Image.Image) -> Pixels:
    """Return the pixels [H, W, C] of an image."""
    return np.atleast_3d(np.asarray(image))


def _plain_jpeg(data: bytes, channels: int) -> Pixels | None:
    """Return what a whole color JPEG shows; None for anything else, or without simplejpeg."""
    if simplejpeg is None or channels != 3 or not data.startswith(b"\xff\xd8"):
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space != "YCbCr" or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None
    return pixels


def with_short_side(image: Image.Image, side: int) -> Image.Image:
    """Return an image whose shorter side has so many pixels, bilinear with antialiasing.

    The longer one is cut to whole pixels, as by torchvision's `Resize`.
    """
    short = min(image.size)
    if short == side:
        return image
    width, height = (side * length // short for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
