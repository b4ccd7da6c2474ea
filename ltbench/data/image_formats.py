"""Formats of image files, by suffix and by first bytes.

Imports no PIL.
"""

import re
from pathlib import Path

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "GIF", "WEBP", "TIFF")
"""Formats that PIL may decode: those that start no other program and have 8 bits a channel."""

READ = rb"\xff\xd8\xff|\x89PNG|BM.{4}\0{4}|P[1-6]\s+[\d#]|GIF8|RIFF.{4}WEBP|II\*\0|MM\0\*"
"""First bytes of these formats."""

NOT_READ = {
    "AVIF": rb".{4}ftypavi[fs]",
    "HEIC": rb".{4}ftyp(hei|hev|mif1|msf1)",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
    "ICO": rb"\0\0\x01\0",
}
"""First bytes of other formats of images."""

NO_IMAGES = {
    "a Git LFS pointer": rb"version https://git-lfs",
    "a web page": rb"\s*<(!doctype html|html)",
    "PDF": rb"%PDF",
    "SVG": rb"\s*(<\?xml[^>]*>\s*)?<svg",
}
"""First bytes of files that often stand in the place of an image."""

SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"),
        *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jxl", ".ico"),
    ]
)
"""Suffixes of image files, of formats that are not read too."""

START = 64
"""Bytes of a file that show its format."""


def is_image_file(path: Path) -> bool:
    """Return whether a file's suffix or first bytes are an image's."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            start = file.read(START)
    except OSError:
        return True  # whoever decodes it says why it cannot be read
    return is_of_read_format(start) or any(_starts(start, form) for form in NOT_READ.values())


def is_of_read_format(data: bytes) -> bool:
    """Return whether bytes begin as those of a supported format."""
    return _starts(data, READ)


def other_format(data: bytes) -> str | None:
    """Return the kind of an unsupported file by its first bytes."""
    formats = NOT_READ | NO_IMAGES
    return next((name for name, form in formats.items() if _starts(data, form)), None)


def _starts(data: bytes, pattern: bytes) -> bool:
    return re.match(pattern, data[:START], re.DOTALL | re.IGNORECASE) is not None
