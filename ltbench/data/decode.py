"""Decoding of image files.

If simplejpeg is installed it decodes valid color JPEGs, to the same pixels in less time; PIL
decodes everything else and reports errors.
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
"""Formats that PIL may decode: those that start no other program."""

MODES = {1: "L", 3: "RGB"}


class BadImageError(Exception):
    """An image cannot be decoded or has the wrong size or type."""


def decoder() -> dict[str, str | None]:
    """Return the versions of the libraries that pixels may depend on."""
    versions = {"pillow": PIL.__version__, "jpeg": features.version("jpg")}
    return versions | ({"simplejpeg": metadata.version("simplejpeg")} if simplejpeg else {})


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        BadImageError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read: {error.strerror}") from None


def decode(data: bytes, channels: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Decode the bytes of an image file.

    The format is that of the bytes, not of the file name; orientation tags are ignored.

    Args:
        data: bytes of the file.
        channels: 1 for gray, 3 for color; other images are converted.
        size: required width and height; None for any.

    Raises:
        BadImageError: if it is not an image, is damaged, has another size or more than 8 bits.
    """
    if not data:
        raise BadImageError("is empty")
    pixels = _decode_jpeg(data, channels)
    if pixels is not None and size in (None, pixels.shape[1::-1]):
        return Image.fromarray(pixels)
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
    """Decode the bytes of an image file to pixels [H, W, C]."""
    pixels = _decode_jpeg(data, channels)
    return pixels_of(decode(data, channels)) if pixels is None else pixels


def pixels_of(image: Image.Image) -> Pixels:
    """Return the pixels [H, W, C] of an image."""
    return np.atleast_3d(np.asarray(image))


def _decode_jpeg(data: bytes, channels: int) -> Pixels | None:
    """Decode a valid color JPEG; return None otherwise, or without simplejpeg."""
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


def resize_shorter(image: Image.Image, side: int) -> Image.Image:
    """Resize an image's shorter side, bilinear with antialiasing.

    The longer side is truncated to whole pixels, as by torchvision's `Resize`.
    """
    short = min(image.size)
    if short == side:
        return image
    width, height = (side * length // short for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
