"""Image files to predict: named ones, and those of folders and lists.

A folder is searched with its subfolders, class folders or not, in the order of names; hidden files
and folders are ignored. A file .csv, .tsv or .txt is a list.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ltbench.config.errors import Location, Problem
from ltbench.data.image_formats import is_image_file
from ltbench.data.image_list import read_paths

LISTS = (".csv", ".tsv", ".txt")
"""Suffixes of image lists."""


@dataclass
class FoundImages:
    """Image files, other files in their folders, and problems with the paths."""

    files: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def find_images(paths: Iterable[Path]) -> FoundImages:
    """Find the image files of paths: images, folders and lists.

    An image that is named, or is in a list, need not exist: it cannot be read later.
    """
    found = FoundImages()
    for path in paths:
        if not path.exists():
            problem = Location(str(path)).problem("missing-file", "no such file or folder")
            found.problems.append(problem)
        elif path.is_dir():
            _add_folder(path, found)
        elif path.suffix.lower() in LISTS:
            found.files += read_paths(path, found.problems)
        else:
            found.files.append(path)
    return found


def _add_folder(folder: Path, found: FoundImages) -> None:
    files = list(_walk(folder, set()))
    images = [file for file in files if is_image_file(file)]
    if not images:
        found.problems.append(Location(str(folder)).problem("bad-layout", "has no images"))
    found.files += images
    found.others += [file for file in files if not is_image_file(file)]


def _walk(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Yield the visible files of a folder and its subfolders."""
    real = folder.resolve()
    if real in above:
        return
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    for path in (folder / name for name in names):
        if path.is_dir():
            yield from _walk(path, above | {real})
        else:
            yield path
