"""Lists of images: text files with a path and a class number a line. Imports no torch.

A list goes round with several forms of path (`train/apartment_building-outdoor/7.jpg` is also
`data_256/a/apartment_building/outdoor/7.jpg`). Whatever form a file has, an image is its class, its
name and its class number. The canonical text of a list has a line `path number` for each image, in
the order of the list, with the path in the first of the part's forms, which is that of the official
list. The text's git blob id is what `git hash-object` prints for the official file.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ltbench.config.keys import content_hash
from ltbench.config.models import DatasetSpec, ImageLists, ListFile
from ltbench.core.groups import GROUPS, class_groups
from ltbench.data.errors import DataError, listed

PATTERNS = {
    r"\{class\}": r"(?P<folder>.+)",
    r"\{initial\}": r"[^/]",
    r"\{nested\}": r"(?P<nested>.+)",
    r"\{name\}": r"(?P<name>[^/]+)",
}
"""What stands for each part of a form, as `re.escape` writes it."""


class ListEntry(NamedTuple):
    """An image: the folder of its class, as the official list writes it, its file, its class."""

    folder: str
    name: str
    label: int


def path_of(image: ListEntry, form: str) -> str:
    """Return an image's path in a form."""
    return (
        form.replace("{initial}", image.folder[:1])
        .replace("{nested}", image.folder.replace("-", "/"))
        .replace("{class}", image.folder)
        .replace("{name}", image.name)
    )


@dataclass(frozen=True)
class OfficialLists:
    """The images of a dataset.

    Attributes:
        classes: the folder of each class.
        parts: images by list ("train", "test", and "val" where there is one), in order.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, tuple[ListEntry, ...]]


def forms_of(lists: ImageLists, part: str) -> tuple[str, ...]:
    """Return the forms that paths of a list may have; validation images are training images."""
    return lists.test.paths if part == "test" else lists.train.paths


def canonical_text(images: Iterable[ListEntry], form: str) -> str:
    """Return the text of a list in a form."""
    return "".join(f"{path_of(image, form)} {image.label}\n" for image in images)


def blob_id(text: str) -> str:
    """Return the git blob id of a text."""
    data = text.encode()
    header = b"blob %d\0" % len(data)
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


def lists_fingerprint(blobs: Mapping[str, str]) -> str:
    """Return the fingerprint of a dataset: the hash of its lists' blob ids by part."""
    return content_hash(dict(blobs))


def pinned_fingerprint(lists: ImageLists) -> str | None:
    """Return the fingerprint that a configuration pins; None where it leaves a list open."""
    blobs = {part: file.blob for part, file in lists.files.items() if file.blob is not None}
    return lists_fingerprint(blobs) if len(blobs) == len(lists.files) else None


def blobs_of(lists: ImageLists, found: OfficialLists) -> dict[str, str]:
    """Return the blob ids of the lists' canonical texts."""
    return {
        part: blob_id(canonical_text(images, forms_of(lists, part)[0]))
        for part, images in found.parts.items()
    }


def read_lists(spec: DatasetSpec, lists: ImageLists, folder: Path) -> OfficialLists:
    """Return the lists of a dataset, whichever form their paths have, checked against its facts.

    Args:
        spec: the dataset.
        lists: what it says of its lists.
        folder: holds their files.

    Raises:
        DataError: with everything that is wrong with them.
    """
    classes, parts = _read_files(spec, lists, folder, lists.files)
    return OfficialLists(tuple(classes[label] for label in range(spec.classes)), parts)


def check_lists(spec: DatasetSpec, lists: ImageLists, folder: Path) -> dict[str, int]:
    """Check those lists of a dataset that are in a folder, without any image.

    Returns:
        The images of each list that is there, by part.

    Raises:
        DataError: with everything that is wrong with them, or where there is none.
    """
    files = {part: file for part, file in lists.files.items() if (folder / file.file).exists()}
    if not files:
        names = ", ".join(file.file for file in lists.files.values())
        raise DataError(
            f"no list of {spec.name} is in {folder.absolute()}: {names}", "missing-data"
        )
    _, parts = _read_files(spec, lists, folder, files)
    return {part: len(images) for part, images in parts.items()}


def _read_files(
    spec: DatasetSpec, lists: ImageLists, folder: Path, files: Mapping[str, ListFile]
) -> tuple[dict[int, str], dict[str, tuple[ListEntry, ...]]]:
    """Return the folders of classes and the images of some lists, checked."""
    problems: list[str] = []
    classes: dict[int, str] = {}
    parts: dict[str, tuple[ListEntry, ...]] = {}
    for part, file in files.items():  # the training list comes first: it has the classes
        forms = forms_of(lists, part)
        parts[part] = _read(folder / file.file, forms, spec.classes, classes, problems)
    shared = [folder for folder, n in Counter(classes.values()).items() if n > 1]
    problems += [f"{folder} stands for several classes" for folder in shared]
    if not problems:
        problems += _unlike_facts(spec, lists, parts)
    if problems:
        raise DataError(
            f"lists of {spec.name} in {folder.absolute()}:\n{listed(problems)}", "bad-layout"
        )
    return classes, parts


def _read(
    path: Path, forms: Sequence[str], count: int, classes: dict[int, str], problems: list[str]
) -> tuple[ListEntry, ...]:
    """Return a list's images; note the folders of classes that are new."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        problems.append(f"{path.name} is not there")
        return ()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return ()
    patterns = [_pattern(form) for form in forms]
    images: list[ListEntry] = []
    for number, line in enumerate(lines, 1):
        try:
            images.append(_parse(line, patterns, count, classes))
        except ValueError as error:
            problems.append(f"{path.name}:{number}: {error}")
    doubles = [path for path, n in Counter((i.folder, i.name) for i in images).items() if n > 1]
    problems += [f"{path.name}: {'/'.join(double)} is listed twice" for double in doubles]
    return tuple(images)


def _pattern(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    for place, stands_for in PATTERNS.items():
        pattern = pattern.replace(place, stands_for)
    return re.compile(pattern)


def _parse(
    line: str, patterns: Sequence[re.Pattern[str]], count: int, classes: dict[int, str]
) -> ListEntry:
    path, _, number = line.rstrip().rpartition(" ")
    if not path or not number.isdecimal():
        raise ValueError("is not a path, a space and a class number")
    label = int(number)
    if label >= count:
        raise ValueError(f"class {label} is not below {count}")
    match = next((m for pattern in patterns if (m := pattern.fullmatch(path))), None)
    if match is None or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path} has none of the forms of path that are known")
    found = match.groupdict()
    nested = found.get("nested")
    folder = found.get("folder") or (nested and nested.replace("/", "-"))
    if folder is None and label not in classes:
        raise ValueError(f"class {label} is not in the training list")
    if folder is not None and classes.setdefault(label, folder) != folder:
        raise ValueError(f"class {label} is {classes[label]}, not {folder}")
    return ListEntry(classes[label], found["name"], label)


def _unlike_facts(
    spec: DatasetSpec, lists: ImageLists, parts: Mapping[str, tuple[ListEntry, ...]]
) -> list[str]:
    """Return how the lists differ from what the configuration says of them."""
    problems = []
    for part, images in parts.items():
        file = lists.files[part]
        if len(images) != file.images:
            problems.append(f"{file.file} has {len(images):,} images, expected {file.images:,}")
        blob = blob_id(canonical_text(images, forms_of(lists, part)[0]))
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
    found = tuple(sizes[group] for group in GROUPS)
    if lists.group_sizes not in (None, found):
        problems.append(
            f"{lists.train.file} has {_joined(found)} classes with many, a medium number of and "
            f"few images, expected {_joined(lists.group_sizes)}"
        )
    return problems


def _joined(numbers: Iterable[int] | None) -> str:
    return "/".join(map(str, numbers or ()))
