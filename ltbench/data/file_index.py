"""File index of a dataset: its classes, and the files of its parts."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from ltbench.config.keys import content_hash

Part = Literal["train", "test", "val"]


@dataclass(frozen=True)
class FileEntry:
    """An image file: path below the folder, label, size, ctime.

    Size and ctime detect changes; mtime does not, since copies and archives preserve it and
    programs can set it.
    """

    path: str
    label: int
    size: int
    changed_ns: int


@dataclass(frozen=True)
class FileIndex:
    """Class names and image files by part, in order."""

    classes: tuple[str, ...]
    parts: dict[Part, tuple[FileEntry, ...]]

    def signature(self, *settings: object) -> str:
        """Return a hash of files and settings, for a cache's name."""
        files = [[astuple(file) for file in part] for part in self.parts.values()]
        return content_hash([*settings, self.classes, files])[:16]


def fingerprints(parts: Mapping[Part, Sequence[tuple[str, int]]]) -> dict[str, str]:
    """Return the fingerprints of a dataset, with and without its test part.

    Args:
        parts: SHA-256 and label of each file, in the order of parts and files.
    """
    training = [files for part, files in parts.items() if part != "test"]
    return {"fingerprint": content_hash([*parts.values()]), "training": content_hash(training)}


def stat_files(
    folder: Path, images: Iterable[tuple[str, int]], problems: list[str]
) -> Iterator[FileEntry]:
    """Yield the entries of files that exist; add the others to `problems`."""
    for path, label in images:
        if (folder / path).is_file():
            stat = (folder / path).stat()
            yield FileEntry(path, label, stat.st_size, stat.st_ctime_ns)
        else:
            problems.append(f"file {path} is missing")


def links_outside(path: Path | os.DirEntry[str], folder: Path) -> bool:
    """Return whether a path is a link to outside of a folder."""
    return path.is_symlink() and not Path(path).resolve().is_relative_to(folder)
