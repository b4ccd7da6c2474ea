"""Image folders: `<train>/<class>/<file>`, likewise for test and validation.

Classes are numbered in the order of their names; images are ordered by class, then by name. Names
that start with a dot are ignored.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import combinations, permutations
from pathlib import Path

from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import FileEntry, FileIndex, Part, links_outside


def list_folder(folder: Path, names: Mapping[Part, str]) -> FileIndex:
    """List the files of an image folder without opening them.

    Args:
        folder: of the dataset.
        names: subfolder of each part; training and test are among them.

    Raises:
        DataError: with all problems: missing parts, classes or images, classes of one part only,
            parts that share a folder, links to targets outside the folder, folders instead of
            files.
    """
    problems: list[str] = []
    inside = folder.resolve()
    classes = {part: _classes(folder, name, inside, problems) for part, name in names.items()}
    for one, other in permutations(names, 2):
        if "train" in (one, other) and classes[one] and classes[other]:
            problems += [
                f"class {name} is in {names[one]}/ but not in {names[other]}/"
                for name in sorted(set(classes[one]) - set(classes[other]))
            ]
    problems += [
        f"{names[one]}/ and {names[other]}/ are the same folder"
        for one, other in combinations(names, 2)
        if (folder / names[one]).resolve() == (folder / names[other]).resolve()
    ]
    files = {
        part: tuple(
            file
            for label, name in enumerate(classes[part])
            for file in _files(folder, f"{folder_name}/{name}", label, inside, problems)
        )
        for part, folder_name in names.items()
    }
    if problems:
        raise DataError(f"{folder.absolute()} cannot be used:\n{listed(problems)}", "bad-layout")
    return FileIndex(tuple(classes["train"]), files)


def _classes(folder: Path, part: str, inside: Path, problems: list[str]) -> list[str]:
    path = folder / part
    if not path.is_dir():
        problems.append(f"folder {part}/ is missing")
        return []
    if not path.resolve().is_relative_to(inside):
        problems.append(f"{part}/ is outside of the folder")
        return []
    names = []
    for entry in _visible(path):
        if links_outside(entry, inside):
            problems.append(f"{part}/{entry.name} links outside of the folder")
        elif not entry.is_dir():
            problems.append(f"{part}/{entry.name} is not a class folder")
        else:
            names.append(entry.name)
    if not names:
        problems.append(f"{part}/ has no class folders")
    return names


def _files(
    folder: Path, within: str, label: int, inside: Path, problems: list[str]
) -> Iterator[FileEntry]:
    entries = _visible(folder / within)
    if not entries:
        problems.append(f"{within}/ has no images")
    for entry in entries:
        path = f"{within}/{entry.name}"
        if links_outside(entry, inside):
            problems.append(f"{path} links outside of the folder")
        elif not entry.is_file():
            problems.append(f"{path} is not a file")
        else:
            stat = entry.stat()
            yield FileEntry(path, label, stat.st_size, stat.st_ctime_ns)


def _visible(path: Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
