"""Image folders: `<train>/<class>/<file>`, likewise for test and validation.

Classes are numbered in the order of their names; images are ordered by class, then by name. Files
that are no images are skipped, and hidden files: names that start with a dot.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import Path
from unicodedata import normalize

from ltbench.data.file_index import (
    OUTSIDE,
    FileEntry,
    FileIndex,
    Part,
    leads_outside,
    shared_files,
    unusable,
)
from ltbench.data.image_formats import is_image_file


def list_folder(folder: Path, names: Mapping[Part, str]) -> FileIndex:
    """List the files of an image folder without decoding them.

    Args:
        folder: of the dataset.
        names: subfolder of each part; `.` for a single one.

    Raises:
        DataError: with all problems: missing parts, classes or images, classes of one part only,
            files of several parts, links to targets outside the folder, folders instead of files.
    """
    listing = _Listing(folder)
    classes = {part: listing.classes(name) for part, name in names.items()}
    problems = listing.problems
    for one, other in permutations(names, 2):
        if "train" in (one, other) and classes[one] and classes[other]:
            problems += [
                f'class "{name}" is in {names[one]}/ but not in {names[other]}/'
                for name in sorted(set(classes[one]) - set(classes[other]))
            ]
    files = {
        part: tuple(
            file
            for label, name in enumerate(sorted(folders))
            for file in listing.images(f"{names[part]}/{folders[name]}", label)
        )
        for part, folders in classes.items()
    }
    problems += shared_files(files)
    if problems:
        raise unusable(folder, problems, listing.skipped)
    return FileIndex(tuple(sorted(classes["train"])), files, tuple(listing.skipped))


class _Listing:
    """Lists the folders of a dataset, and collects problems and skipped files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inside = folder, folder.resolve()
        self.problems: list[str] = []
        self.skipped: list[str] = []

    def classes(self, part: str) -> dict[str, str]:
        """Return the folder of each class of a part, by name.

        Names are in one Unicode form: macOS writes letters with accents as two characters.
        """
        path = self.folder / part
        if not path.is_dir():
            self.problems.append(f"folder {part}/ is missing")
            return {}
        if not path.resolve().is_relative_to(self.inside):
            self.problems.append(f"{part}/ is {path.resolve()}, {OUTSIDE}")
            return {}
        folders: dict[str, str] = {}
        for entry in self._entries(part):
            name = normalize("NFC", entry.name)
            if not entry.is_dir():
                if self._is_image(part, entry):
                    self.problems.append(f"{part}/{entry.name} is not in a class folder")
            elif folders.setdefault(name, entry.name) != entry.name:
                self.problems.append(
                    f"{part}/ has two folders {name}, whose names differ in their Unicode form "
                    f"({folders[name]!a}, {entry.name!a})"
                )
        if not folders:
            self.problems.append(f"{part}/ has no class folders")
        return folders

    def images(self, within: str, label: int) -> Iterator[FileEntry]:
        """Yield the images of a class folder."""
        problems = len(self.problems)
        empty = True
        for entry in self._entries(within):
            path = f"{within}/{entry.name}"
            if entry.is_file():
                if self._is_image(within, entry):
                    empty = False
                    yield FileEntry.of(path, label, entry.stat())
            elif entry.is_dir():
                self.problems.append(f"{path} is a folder: images must be in the class folder")
            else:
                self.problems.append(f"{path} is not a file")
        if empty and problems == len(self.problems):
            self.problems.append(f"{within}/ has no images")

    def _entries(self, within: str) -> Iterator[os.DirEntry[str]]:
        """Yield a folder's visible entries by name, without unusable links."""
        try:
            with os.scandir(self.folder / within) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{within}/ cannot be read: {error.strerror}")
            return
        for entry in found:
            path = f"{within}/{entry.name}"
            if entry.name.startswith("."):
                if entry.is_file(follow_symlinks=False):
                    self.skipped.append(path)
            elif problem := leads_outside(entry, self.inside):
                self.problems.append(f"{path} {problem}")
            elif entry.is_symlink() and not Path(entry).exists():
                self.problems.append(f"{path} is a broken link")
            else:
                yield entry

    def _is_image(self, within: str, entry: os.DirEntry[str]) -> bool:
        image = is_image_file(Path(entry))
        if not image:
            self.skipped.append(f"{within}/{entry.name}")
        return image
