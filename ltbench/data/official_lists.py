"""Official lists of images: text files of `path label` lines.

Imports no torch.

A list circulates in several path formats (`train/apartment_building-outdoor/7.jpg` is also
`data_256/a/apartment_building/outdoor/7.jpg`). In any of them an image is the folder of its class,
its file name and its label. The canonical text of a list has one line `path label` per image, in
the order of the list, in the first path format of the part, which is that of the official list: its
git blob id is what `git hash-object` prints for the official file.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ltbench.config.dataset import DatasetSpec, ImageLists, ListFile
from ltbench.config.keys import content_hash
from ltbench.core.groups import GROUPS, class_groups
from ltbench.data.errors import DataError, listed
from ltbench.data.files import read_lines

PATTERNS = {
    r"\{class\}": r"(?P<folder>.+)",
    r"\{initial\}": r"[^/]",
    r"\{nested\}": r"(?P<nested>.+)",
    r"\{name\}": r"(?P<name>[^/]+)",
}
"""Regular expression of each placeholder of a path format, as `re.escape` writes it."""


class ListEntry(NamedTuple):
    """A listed image: class folder in the official list, file name, label."""

    folder: str
    name: str
    label: int


def path_of(image: ListEntry, path_format: str) -> str:
    """Return an image's path in a format."""
    return (
        path_format.replace("{initial}", image.folder[:1])
        .replace("{nested}", image.folder.replace("-", "/"))
        .replace("{class}", image.folder)
        .replace("{name}", image.name)
    )


@dataclass(frozen=True)
class OfficialLists:
    """The listed images of a dataset.

    Attributes:
        classes: folder of each class.
        parts: images by list ("train", "test" and, if there is one, "val"), in order.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, tuple[ListEntry, ...]]


def path_formats(lists: ImageLists, part: str) -> tuple[str, ...]:
    """Return the path formats of a list.

    Validation images lie among the training images.
    """
    return lists.test.paths if part == "test" else lists.train.paths


def canonical_text(images: Iterable[ListEntry], path_format: str) -> str:
    """Return the text of a list in a path format."""
    return "".join(f"{path_of(image, path_format)} {image.label}\n" for image in images)


def blob_id(text: str) -> str:
    """Return the git blob id of a text."""
    data = text.encode()
    header = b"blob %d\0" % len(data)
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


def lists_fingerprint(blobs: Mapping[str, str]) -> str:
    """Return a dataset's fingerprint: the hash of its lists' blob ids."""
    return content_hash(dict(blobs))


def pinned_fingerprint(lists: ImageLists) -> str | None:
    """Return the pinned fingerprint; None if a list is not pinned."""
    blobs = {part: file.blob for part, file in lists.files.items() if file.blob is not None}
    return lists_fingerprint(blobs) if len(blobs) == len(lists.files) else None


def blobs_of(lists: ImageLists, official: OfficialLists) -> dict[str, str]:
    """Return the blob ids of the lists' canonical texts by part."""
    return {
        part: blob_id(canonical_text(images, path_formats(lists, part)[0]))
        for part, images in official.parts.items()
    }


def read_lists(spec: DatasetSpec, lists: ImageLists, folder: Path) -> OfficialLists:
    """Read the official lists of a dataset, in any path format.

    Args:
        spec: the dataset.
        lists: its `official_lists`: files, path formats, expected counts and blob ids.
        folder: of the list files.

    Raises:
        DataError: with all errors, also where a list differs from the specification.
    """
    classes, parts = _read_files(spec, lists, folder, lists.files)
    return OfficialLists(tuple(classes[label] for label in range(spec.classes)), parts)


def check_lists(spec: DatasetSpec, lists: ImageLists, folder: Path) -> dict[str, int]:
    """Check the lists found in a folder; no images are needed.

    Returns:
        Number of images of each list found, by part.

    Raises:
        DataError: with all errors, or if the folder has none of the lists.
    """
    files = {part: file for part, file in lists.files.items() if (folder / file.file).exists()}
    if not files:
        names = ", ".join(file.file for file in lists.files.values())
        raise DataError(
            f"{folder.absolute()} has none of the lists of {spec.name}: {names}", "missing-data"
        )
    _, parts = _read_files(spec, lists, folder, files)
    return {part: len(images) for part, images in parts.items()}


def _read_files(
    spec: DatasetSpec, lists: ImageLists, folder: Path, files: Mapping[str, ListFile]
) -> tuple[dict[int, str], dict[str, tuple[ListEntry, ...]]]:
    """Read and check lists; return class folders and images by part."""
    problems: list[str] = []
    classes: dict[int, str] = {}
    parts: dict[str, tuple[ListEntry, ...]] = {}
    for part, file in files.items():  # the training list comes first: it names the classes
        formats = path_formats(lists, part)
        parts[part] = _read(folder / file.file, formats, spec.classes, classes, problems)
    shared = [folder for folder, n in Counter(classes.values()).items() if n > 1]
    problems += [f"{folder} is the folder of several classes" for folder in shared]
    if not problems:
        problems += _differences(spec, lists, parts)
    if problems:
        raise DataError(
            f"lists of {spec.name} in {folder.absolute()}:\n{listed(problems)}", "bad-layout"
        )
    return classes, parts


def _read(
    path: Path, formats: Sequence[str], count: int, classes: dict[int, str], problems: list[str]
) -> tuple[ListEntry, ...]:
    """Read the images of a list; add new class folders to `classes`."""
    try:
        lines = read_lines(path)
    except DataError as error:
        problems.append(str(error))
        return ()
    patterns = [_pattern(path_format) for path_format in formats]
    images: list[ListEntry] = []
    for number, line in enumerate(lines, 1):
        try:
            images.append(_parse(line, patterns, count, classes))
        except ValueError as error:
            problems.append(f"{path.name}:{number}: {error}")
    repeated = [path for path, n in Counter((i.folder, i.name) for i in images).items() if n > 1]
    problems += [f"{path.name}: {'/'.join(names)} is listed twice" for names in repeated]
    return tuple(images)


def _pattern(path_format: str) -> re.Pattern[str]:
    pattern = re.escape(path_format)
    for placeholder, expression in PATTERNS.items():
        pattern = pattern.replace(placeholder, expression)
    return re.compile(pattern)


def _parse(
    line: str, patterns: Sequence[re.Pattern[str]], count: int, classes: dict[int, str]
) -> ListEntry:
    path, _, number = line.rstrip().rpartition(" ")
    if not path or not number.isdecimal():
        raise ValueError("expected a path, a space and a class number")
    label = int(number)
    if label >= count:
        raise ValueError(f"class {label} is not below {count}")
    match = next((m for pattern in patterns if (m := pattern.fullmatch(path))), None)
    if match is None or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path} has none of the expected path formats")
    groups = match.groupdict()
    nested = groups.get("nested")
    folder = groups.get("folder") or (nested and nested.replace("/", "-"))
    if folder is None and label not in classes:
        raise ValueError(f"class {label} is not in the training list")
    if folder is not None and classes.setdefault(label, folder) != folder:
        raise ValueError(f"class {label} is {classes[label]}, not {folder}")
    return ListEntry(classes[label], groups["name"], label)


def _differences(
    spec: DatasetSpec, lists: ImageLists, parts: Mapping[str, tuple[ListEntry, ...]]
) -> list[str]:
    """Return the differences between lists and specification."""
    problems = []
    for part, images in parts.items():
        file = lists.files[part]
        if len(images) != file.images:
            problems.append(f"{file.file} has {len(images):,} images, expected {file.images:,}")
        blob = blob_id(canonical_text(images, path_formats(lists, part)[0]))
        if file.blob not in (None, blob):
            problems.append(
                f"{file.file} is not the official list: its git blob id is {blob}, "
                f"expected {file.blob}"
            )
    if "train" not in parts:
        return problems
    by_class = Counter(image.label for image in parts["train"])
    counts = [by_class[label] for label in range(spec.classes)]
    if (max(counts), min(counts)) != (lists.max_per_class, lists.min_per_class):
        problems.append(
            f"{lists.train.file} has {max(counts):,} to {min(counts):,} images a class, "
            f"expected {lists.max_per_class:,} to {lists.min_per_class:,}"
        )
    sizes = Counter(class_groups(counts, spec.shot_rule))
    group_sizes = tuple(sizes[group] for group in GROUPS)
    if lists.group_sizes not in (None, group_sizes):
        problems.append(
            f"{lists.train.file} has {_joined(group_sizes)} many/medium/few-shot classes, "
            f"expected {_joined(lists.group_sizes)}"
        )
    return problems


def _joined(numbers: Iterable[int] | None) -> str:
    return "/".join(map(str, numbers or ()))
