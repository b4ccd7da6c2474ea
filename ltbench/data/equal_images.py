"""Equal images of a dataset, within a part or across parts."""

import hashlib
from collections.abc import Mapping, Sequence

from ltbench.data.errors import listed
from ltbench.data.images import FileImages, Images, InMemoryImages

EqualImages = list[tuple[str, str]]
"""Part and name of each image of a set of equal ones."""


def equal_images(
    parts: Mapping[str, Images], file_hashes: Mapping[str, Sequence[str]]
) -> list[EqualImages]:
    """Return groups of images with equal bytes, or pixels in memory.

    Args:
        parts: of a dataset, in files or in memory.
        file_hashes: a hash of each file, of the parts in files.
    """
    groups: dict[str, EqualImages] = {}
    for part, images in parts.items():
        hashes = file_hashes[part] if part in file_hashes else _hashes(images)
        for name, digest in zip(_names(images), hashes, strict=True):
            groups.setdefault(digest, []).append((part, name))
    return [group for group in groups.values() if len(group) > 1]


def _hashes(images: Images) -> list[str]:
    everything = images.read(range(len(images)))
    return [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in everything]


def _names(images: Images) -> Sequence[str]:
    known = images.paths if isinstance(images, FileImages | InMemoryImages) else None
    return known or [str(position) for position in range(len(images))]


def describe_equal(groups: Sequence[EqualImages]) -> str:
    """Return equal images as text; those in several parts are named."""
    shared = [group for group in groups if len({part for part, _ in group}) > 1]
    repeated = len(groups) - len(shared)
    text = f"equal images       {len(shared):,} in several parts, {repeated:,} repeated in one"
    if not shared:
        return text
    names = [" = ".join(f"{name} ({part})" for part, name in group) for group in shared]
    warning = "warning: images that are trained on must not be tested on; delete one of each:"
    return f"{text}\n{warning}\n{listed(names)}"
