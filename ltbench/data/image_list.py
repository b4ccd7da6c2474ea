"""The user's own image lists: a line `path,label` or `path,label,split` per image.

Columns are separated by tabs, commas or semicolons; in a list without these by the last space of a
line. Cells are those of CSV: in quotes they may have delimiters and line ends. A header line with
`path` and `label` gives the order of the columns; columns other than these, `split` and `group` are
ignored, unless they are nearly named `split` or `group`.
Lines before it that begin with `# ` are comments. Labels are class indices from 0, or names, and
then classes are numbered in the order of their names. A split is train, test or val.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple, get_args
from unicodedata import normalize

from ltbench.config.errors import MOST_CHOICES, Location, Problem, did_you_mean
from ltbench.data.errors import DataError
from ltbench.data.file_index import (
    OUTSIDE,
    FileEntry,
    FileIndex,
    Part,
    leads_outside,
    shared_files,
    unusable,
)
from ltbench.data.files import read_lines

LIST_COLUMNS = ("path", "label", "split")
DELIMITERS = "\t,;"
COMMENT = re.compile(r"#\s")
ALIKE = 0.8
"""Similarity of a column's name to that of another which is taken for a misspelling."""
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
"""A label that is a number; only whole ones from 0 are class indices."""


class ListRow(NamedTuple):
    """A line of a list, at its location `file:line`."""

    location: str
    path: str
    label: str
    split: str | None
    group: str | None = None


@dataclass(frozen=True)
class ParsedList:
    """The valid rows of a list.

    Attributes:
        has_splits: whether it has a split column.
        was_read: whether the file could be read.
    """

    rows: tuple[ListRow, ...] = ()
    has_splits: bool = True
    was_read: bool = True


def list_files(folder: Path, names: Mapping[Part, str], classes: int) -> FileIndex:
    """Read image lists and check that their files exist, without opening them.

    Args:
        folder: of the lists; their paths are relative to it, or absolute and inside of it.
        names: list file of each part. Parts may share a list that has a split column.
        classes: number of classes.

    Raises:
        DataError: with all problems: invalid lines, unknown splits and classes, names among class
            indices, files that are missing, listed twice or outside of the folder, parts without
            images, classes without a training image.
    """
    problems: list[str] = []
    parsed = {name: _read(folder, name, problems) for name in dict.fromkeys(names.values())}
    for name, parsed_list in parsed.items():
        parts = [part for part, file in names.items() if file == name]
        if len(parts) > 1 and not parsed_list.has_splits:
            problems.append(
                f"{name} needs a column `split`: it is the list of {' and '.join(parts)}"
            )
    rows = {
        part: [row for row in parsed[name].rows if row.split in (None, part)]
        for part, name in names.items()
    }
    every = list(dict.fromkeys(row for part in rows.values() for row in part))
    odd = _odd_labels(every)
    label_of = _label_of_class([row.label for row in every], None if odd else classes)
    seen: dict[str, str] = {}
    files = {part: tuple(_files(folder, rows[part], label_of, seen, problems)) for part in rows}
    problems += odd
    problems += shared_files(files)
    problems += [
        f"{names[part]} has no {'training' if part == 'train' else part} images"
        for part in rows
        if not rows[part] and parsed[names[part]].was_read
    ]
    all_read = all(each.was_read for each in parsed.values())
    if all_read and not odd and len(label_of) != classes:
        found = f": {', '.join(label_of)}" if len(label_of) <= MOST_CHOICES else ""
        problems.append(
            f"the lists have {len(label_of)} classes, the configuration {classes}{found}"
        )
    in_training = {label_of.get(_class_name(row.label)) for row in rows["train"]}
    problems += [
        f"class {name} has no training image"
        for name, label in label_of.items()
        if in_training and not odd and label not in in_training
    ]
    if problems:
        raise unusable(folder, list(dict.fromkeys(problems)))
    return FileIndex(tuple(label_of), files)


def list_unsplit(file: Path) -> tuple[FileIndex, list[str] | None]:
    """Read a list without splits, and the group of each image.

    Returns:
        The images as training images, and their groups: None without a column `group`.

    Raises:
        DataError: with all problems; a list with a split is one.
    """
    problems: list[str] = []
    parsed_list = _read(file.parent, file.name, problems)
    if parsed_list.rows and parsed_list.has_splits:
        problems.append(f"{file.name} has a column `split` already")
    if not parsed_list.rows and not problems:
        problems.append(f"{file.name} lists no images")
    odd = _odd_labels(parsed_list.rows)
    label_of = _label_of_class([row.label for row in parsed_list.rows], None)
    files = tuple(_files(file.parent, parsed_list.rows, label_of, {}, problems))
    problems += odd
    problems += [f"{row.location}: has no group" for row in parsed_list.rows if row.group == ""]
    if problems:
        raise unusable(file.parent, problems)
    groups = [row.group for row in parsed_list.rows if row.group is not None]
    return FileIndex(tuple(label_of), {"train": files}), groups or None


def _read(folder: Path, name: str, problems: list[str]) -> ParsedList:
    """Read the valid rows of a list; add the others to `problems`."""
    try:
        lines = read_lines(folder / name)
    except DataError as error:
        problems.append(str(error))
        return ParsedList(was_read=False)
    columns: Sequence[str] = ()
    rows: list[ListRow] = []
    for number, cells in _cells(name, lines, problems):
        location = f"{name}:{number}"
        if not columns:
            header = [cell.lower() for cell in cells]
            if _is_header(header):
                columns = header
                twice = [column for column in LIST_COLUMNS if header.count(column) > 1]
                problems += [f"{location}: two columns are named {column}" for column in twice]
                problems += [f"{location}: {message}" for message in _misspelt(header)]
                continue
            columns = LIST_COLUMNS[: max(2, len(cells))]
        if len(cells) != len(columns):
            problems.append(f"{location}: has {len(cells)} columns, expected {len(columns)}")
            continue
        row = dict(zip(columns, cells, strict=True))
        split = row.get("split")
        if not row["path"] or not row["label"] or "\0" in row["path"]:
            problems.append(f"{location}: has no path or no label")
        elif split is not None and split not in get_args(Part):
            hint = did_you_mean(split, get_args(Part))
            hint = f"; {hint}" if hint else ""
            problems.append(f'{location}: unknown split "{split}"{hint}{_header_hint(location)}')
        else:
            label = normalize("NFC", row["label"])
            rows.append(ListRow(location, row["path"], label, split, row.get("group")))
    return ParsedList(tuple(rows), not columns or "split" in columns)


def read_paths(file: Path, problems: list[Problem]) -> list[Path]:
    """Return the images of a list: column `path`, or the first.

    In a list without delimiters a line is a path, or a path and a label as above. Paths are
    relative to the list's folder; the images need not exist.

    Args:
        file: the list.
        problems: extended by those with the list.
    """
    location = Location(str(file))
    try:
        lines = read_lines(file)
    except DataError as error:
        problems.append(location.problem("unreadable", f"cannot be read: {error}"))
        return []
    column = 0
    paths: list[Path] = []
    invalid: list[str] = []
    for number, cells in _cells(file.name, lines, invalid):
        header = [cell.lower() for cell in cells]
        if not paths and "path" in header:
            column = header.index("path")
            continue
        path, line = "".join(cells[column : column + 1]), lines[number - 1].strip()
        whole = (file.parent / line).exists() or not (file.parent / path).exists()
        if whole and not any(mark in line for mark in DELIMITERS):
            path = line
        if not path or "\0" in path:
            problems.append(Problem(location.file, number, "", "malformed", "has no path"))
        else:
            paths.append(file.parent / path)
    problems += [location.problem("malformed", message) for message in invalid]
    if not paths:
        problems.append(location.problem("bad-layout", "lists no images"))
    return paths


def _cells(name: str, lines: Sequence[str], problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and cells of each nonempty row."""
    text = [not (line.isspace() or COMMENT.match(line)) for line in lines]
    start = text.index(True) if any(text) else len(lines)
    lines = lines[start:]
    delimiter = _delimiter([line for line in lines if not line.isspace()])
    if delimiter is None:
        yield from (
            (number, line.rsplit(maxsplit=1))
            for number, line in enumerate(lines, start + 1)
            if not line.isspace()
        )
        return
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while reader.line_num < len(lines):
        number = start + reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except csv.Error as error:  # such as an unclosed quote
            problems.append(f"{name}:{number}: is not valid CSV: {error}")
        else:
            if any(cells):
                yield number, cells


def _delimiter(lines: Sequence[str]) -> str | None:
    """Return the delimiter of the header or most lines, or None."""
    delimiter: str | None
    for delimiter in (*DELIMITERS, None):
        header = lines[0].split(delimiter) if lines else ()
        if _is_header([cell.strip(' "\n\r').lower() for cell in header]):
            return delimiter
    most = max(DELIMITERS, key=lambda mark: sum(mark in line for line in lines))
    return most if 2 * sum(most in line for line in lines) > len(lines) else None


def _is_header(cells: Sequence[str]) -> bool:
    return {"path", "label"} <= set(cells)


def _misspelt(header: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with columns nearly named as optional ones."""
    for wanted in ("split", "group"):
        near = get_close_matches(wanted, header, cutoff=ALIKE)
        for column in near if wanted not in header else ():
            yield f'column "{column}" has no meaning; did you mean "{wanted}"?'


def _class_name(label: str) -> str:
    return label.lstrip("0") or "0" if label.isdecimal() else label


def _existing(folder: Path, path: str) -> str:
    """Return a path in the Unicode form that the disk has."""
    forms = (path, normalize("NFC", path), normalize("NFD", path))
    return next((form for form in forms if (folder / form).exists()), path)


def _odd_labels(rows: Sequence[ListRow]) -> list[str]:
    """Return the problems of labels unlike most: names or class indices."""
    numbers = [row for row in rows if NUMBER.fullmatch(row.label)]
    names = [row for row in rows if not NUMBER.fullmatch(row.label)]
    if names and numbers:
        fewer = min(names, numbers, key=len)
        kinds = ("name", "number") if fewer is names else ("number", "name")
        message = "label {} is a {}, most others are {}s"
        return [f"{row.location}: {message.format(row.label, *kinds)}" for row in fewer]
    message = "is no class index, which is a whole number from 0"
    wrong = [row for row in numbers if not row.label.isdecimal()]
    return [f"{row.location}: label {row.label} {message}" for row in wrong]


def _label_of_class(labels: Sequence[str], count: int | None) -> dict[str, int]:
    """Return the class index of each class name, in order.

    Args:
        labels: of the rows.
        count: of the classes, if labels that are numbers are class indices.
    """
    if count is not None and all(label.isdecimal() for label in labels):
        return {str(k): k for k in range(count)}
    return {name: k for k, name in enumerate(sorted(set(map(_class_name, labels))))}


def _files(
    folder: Path,
    rows: Sequence[ListRow],
    label_of: Mapping[str, int],
    seen: dict[str, str],
    problems: list[str],
) -> Iterator[FileEntry]:
    """Yield the files of rows; `seen` maps paths to their locations."""
    root, resolve = folder.resolve(), cache(Path.resolve)
    for location, written, label, *_ in rows:
        try:
            path, name = _existing(folder, written), _class_name(label)
            file = folder / path
            real = resolve(file.parent) / file.name
            if name not in label_of:
                problems.append(f"{location}: class {name} is not below {len(label_of)}")
            elif not real.is_relative_to(root):
                problems.append(f"{location}: {path} is {OUTSIDE}")
            elif problem := leads_outside(file, root):
                problems.append(f"{location}: {path} {problem}")
            elif file.is_dir():
                problems.append(f"{location}: {path} is a folder, not an image")
            elif not file.is_file():
                problems.append(f"{location}: file {path} is missing{_hint(path, location)}")
            elif seen.setdefault(inside := str(real.relative_to(root)), location) != location:
                problems.append(f"{location}: {path} is already listed in {seen[inside]}")
            else:
                own = inside if PurePosixPath(path).is_absolute() else path
                yield FileEntry.of(own, label_of[name], file.stat())
        except OSError as error:  # such as a name that is too long
            problems.append(f"{location}: {written} cannot be read: {error.strerror}")


def _hint(path: str, location: str) -> str:
    """Return what may be wrong with the path of a missing file."""
    if "\\" in path:
        return " (folders are separated by /)"
    return _header_hint(location)


def _header_hint(location: str) -> str:
    """Return what a header needs, for the first line."""
    needed = " and ".join(LIST_COLUMNS[:2])
    return f" (a header line needs {needed})" if location.endswith(":1") else ""
