"""What a dataset of one's own is made of: its classes, and the files of its parts in order."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from ltbench.config.keys import content_hash

Part = Literal["train", "test", "val"]


@dataclass(frozen=True)
class FileEntry:
    """A file: its path in the folder, its class, and what tells that it changed.

    That is its size and the time of its last change, of content or metadata (ctime): copies and
    archives can keep the time of modification, and whoever writes to a file can set it.
    """

    path: str
    label: int
    size: int
    changed_ns: int


@dataclass(frozen=True)
class FileIndex:
    """The classes of a dataset and the files of its parts, in order."""

    classes: tuple[str, ...]
    parts: dict[Part, tuple[FileEntry, ...]]

    def signature(self, *beside: object) -> str:
        """Return a hash of all files as they are, and of what else matters, for a cache's name."""
        files = [[astuple(file) for file in part] for part in self.parts.values()]
        return content_hash([*beside, self.classes, files])[:16]


def fingerprints(parts: Mapping[Part, Sequence[tuple[str, int]]]) -> dict[str, str]:
    """Return the hash of all parts, and that of all but the test, as a manifest has them.

    Args:
        parts: SHA-256 and label of each file, in the order of parts and files.
    """
    training = [files for part, files in parts.items() if part != "test"]
    return {"fingerprint": content_hash([*parts.values()]), "training": content_hash(training)}


def existing(
    folder: Path, images: Iterable[tuple[str, int]], problems: list[str]
) -> Iterator[FileEntry]:
    """Yield the files at some paths with their classes; note those that are not there."""
    for path, label in images:
        if (folder / path).is_file():
            stat = (folder / path).stat()
            yield FileEntry(path, label, stat.st_size, stat.st_ctime_ns)
        else:
            problems.append(f"there is no file {path}")


def leads_out(path: Path | os.DirEntry[str], inside: Path) -> bool:
    """Return whether a path is a link to something outside a folder."""
    return path.is_symlink() and not Path(path).resolve().is_relative_to(inside)
