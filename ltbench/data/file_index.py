"""File index of a dataset: its classes, and its files by part."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal, Self

from ltbench.config.keys import content_hash
from ltbench.data.errors import DataError, listed

Part = Literal["train", "test", "val"]
"""Part of a dataset that images belong to."""

OUTSIDE = "outside of the folder"
LINKS_HINT = """
No file outside of a dataset's folder is read: links may come with an archive. Copy the files, or
set `folder` to one that holds both the links and the files."""


@dataclass(frozen=True)
class FileEntry:
    """An image file: path below the folder, label, size, ctime, inode.

    Size and ctime detect changes; mtime does not, since copies and archives preserve it and
    programs can set it.
    """

    path: str
    label: int
    size: int
    changed_ns: int
    inode: tuple[int, int]

    @classmethod
    def of(cls, path: str, label: int, stat: os.stat_result) -> Self:
        """Return the entry of a file, links followed."""
        return cls(path, label, stat.st_size, stat.st_ctime_ns, (stat.st_dev, stat.st_ino))


@dataclass(frozen=True)
class FileIndex:
    """Class names, image files by part, and skipped files."""

    classes: tuple[str, ...]
    parts: dict[Part, tuple[FileEntry, ...]]
    skipped: tuple[str, ...] = ()

    def signature(self, *settings: object) -> str:
        """Return a hash of files and settings, for a cache's name."""
        files = [
            [(file.path, file.label, file.size, file.changed_ns) for file in part]
            for part in self.parts.values()
        ]
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
            yield FileEntry.of(path, label, (folder / path).stat())
        else:
            problems.append(f"file {path} is missing")


def shared_files(parts: Mapping[Part, Sequence[FileEntry]]) -> Iterator[str]:
    """Yield a problem for each pair of parts with common files."""
    files = {
        part: {(file.inode, file.size, file.changed_ns): file.path for file in entries}
        for part, entries in parts.items()
    }
    for one, other in combinations(files, 2):
        if shared := [key for key in files[other] if key in files[one]]:
            path, same = files[other][shared[0]], files[one][shared[0]]
            also = "" if path == same else f" is {same}"
            yield f"{len(shared):,} files are both {one} and {other} images: {path}{also}"


def leads_outside(path: Path | os.DirEntry[str], folder: Path) -> str | None:
    """Return the problem with a link out of a folder, or None."""
    if not path.is_symlink():
        return None
    target = Path(os.path.realpath(path))  # `resolve` refuses links in a circle
    return None if target.is_relative_to(folder) else f"links to {target}, {OUTSIDE}"


def unusable(folder: Path, problems: Sequence[str], skipped: Sequence[str] = ()) -> DataError:
    """Return the error of a folder with all its problems."""
    text = f"{folder.absolute()} cannot be used:\n{listed(problems)}"
    if any(problem.endswith(OUTSIDE) for problem in problems):
        text += LINKS_HINT
    if skipped:
        text += f"\nSkipped files, no images or hidden ({len(skipped):,}):\n{listed(skipped)}"
    return DataError(text, "bad-layout")
