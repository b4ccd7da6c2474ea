"""Decoding of image files.

If simplejpeg is installed it decodes valid color JPEGs, to the same pixels in less time; PIL
decodes everything else and reports errors.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from ltbench.config.dataset import MAX_PIXELS
from ltbench.data.image_formats import IMAGE_FORMATS, is_of_read_format, other_format

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

Pixels = NDArray[np.uint8]

ORIENTATION = 0x0112
BITS_PER_SAMPLE = 258
SUBFILE_TYPE = 254
"""Tags of Exif and TIFF."""

JPEG_SCAN = b"\xff\xda"
JPEG_PLAIN = frozenset(bytes([0xFF, code]) for code in range(0xC0, 0xFF)) - {JPEG_SCAN, b"\xff\xe1"}
"""Markers of JPEG segments: of the pixels, and of all segments but Exif's and XMP's (APP1)."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by Exif orientation."""

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


def decode(
    data: bytes,
    channels: int,
    size: tuple[int, int] | None = None,
    *,
    upright: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Decode an image file; of several frames or pages the first.

    The format is that of the bytes, not of the file name. Transparency and color profiles are
    dropped.

    Args:
        data: bytes of the file.
        channels: 1 for gray, 3 for color; other images are converted.
        size: required width and height; None for any.
        upright: whether images with an Exif orientation are turned upright. TIFFs always are.
        max_pixels: of the largest image that is decoded.

    Raises:
        BadImageError: if it is not an image, is damaged, has another size, more than 8 bits or too
            many pixels.
    """
    if not data:
        raise BadImageError("is empty")
    pixels = _decode_jpeg(data, channels, max_pixels)
    if pixels is not None and size in (None, pixels.shape[1::-1]):
        image = Image.fromarray(pixels)
        return _upright(image, _jpeg_orientation(data)) if upright else image
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            _check(image, size, max_pixels)
            image.load()  # a TIFF is turned, and loses its orientation
            converted = image.convert(MODES[channels])
            return _upright(converted, _orientation(image)) if upright else converted
    except BadImageError:
        raise
    except Exception as error:  # noqa: BLE001 - PIL raises anything of a damaged file
        raise BadImageError(_reason(error, data, max_pixels)) from None


def _check(image: Image.Image, size: tuple[int, int] | None, max_pixels: int) -> None:
    """Check the header of an image.

    Raises:
        BadImageError: if its pixels are not wanted, or would be changed by PIL.
        DecompressionBombError: if they are too many.
    """
    if image.width * image.height > max_pixels:
        raise Image.DecompressionBombError
    if size is not None and image.size != size:
        raise BadImageError(f"is {image.width}x{image.height}, not {size[0]}x{size[1]}")
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})  # of a TIFF
    if _is_deep(image, tags):
        raise BadImageError("has more than 8 bits a channel: convert it to 8 bits")
    if tags.get(SUBFILE_TYPE, 0) & 1:
        raise BadImageError("begins with a small preview, as raw files of cameras do")


def _is_deep(image: Image.Image, tags: Mapping[int, Any]) -> bool:
    """Return whether an image has more than 8 bits a channel."""
    if image.mode.startswith(("I", "F")) or max(tags.get(BITS_PER_SAMPLE, (1,))) > 8:
        return True
    tiles: Sequence[tuple[Any, ...]] = getattr(image, "tile", ())
    if image.format == "PPM" and tiles[0][0] in ("ppm", "ppm_plain"):
        return bool(tiles[0][-1][-1] > 255)
    return image.format == "PNG" and ";16" in tiles[0][-1]


def _reason(error: Exception, data: bytes, max_pixels: int) -> str:
    """Return what is wrong with a file that PIL refused."""
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {max_pixels:,} pixels: raise the dataset's max_pixels to read it"
    if not isinstance(error, UnidentifiedImageError):
        return f"is damaged: {error or type(error).__name__}"
    if is_of_read_format(data):
        return "is damaged: its header cannot be read"
    form = other_format(data)
    return f"is {form}, not {', '.join(IMAGE_FORMATS)}" if form else "is not an image"


def _jpeg_orientation(data: bytes) -> int:
    """Return the Exif orientation of a JPEG, 1 without."""
    if not _has_metadata(data):
        return 1
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return _orientation(image)


def _has_metadata(data: bytes) -> bool:
    """Return whether a JPEG may have Exif or XMP data."""
    start = 2
    while (marker := data[start : start + 2]) in JPEG_PLAIN:
        start += 2 + int.from_bytes(data[start + 2 : start + 4])
    return marker != JPEG_SCAN


def _orientation(image: Image.Image) -> int:
    """Return an image's Exif orientation, 1 without a valid one."""
    with suppress(Exception):
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def decode_pixels(data: bytes, channels: int) -> Pixels:
    """Decode an image file to pixels [H, W, C], as by `decode`."""
    pixels = _decode_jpeg(data, channels, MAX_PIXELS)
    return pixels_of(decode(data, channels)) if pixels is None else pixels


def pixels_of(image: Image.Image) -> Pixels:
    """Return the pixels [H, W, C] of an image."""
    return np.atleast_3d(np.asarray(image))


def _decode_jpeg(data: bytes, channels: int, max_pixels: int) -> Pixels | None:
    """Decode a valid color JPEG; return None otherwise, or without simplejpeg."""
    if simplejpeg is None or channels != 3 or not data.startswith(b"\xff\xd8"):
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space != "YCbCr" or height * width > max_pixels:
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None
    return pixels


def resize_shorter(image: Image.Image, side: int) -> Image.Image:
    """Resize an image's shorter side, bilinear with antialiasing.

    The longer side is truncated to whole pixels, as by torchvision's `Resize`.

    Raises:
        BadImageError: if it is so narrow that the result would have too many pixels.
    """
    short = min(image.size)
    if short == side:
        return image
    width, height = (side * length // short for length in image.size)
    if width * height > max(MAX_PIXELS, image.width * image.height):
        raise BadImageError(
            f"is {image.width}x{image.height}, too narrow to resize to a shorter side of {side}"
        )
    return image.resize((width, height), Image.Resampling.BILINEAR)
