"""The user's own image lists: a line `path,label` or `path,label,split` per image.

Columns are separated by commas or tabs; in a list without either by the last space of a line. A
header line with `path` and `label` gives the order of the columns; columns other than these and
`split` are ignored. If all labels are numbers they are class indices from 0; otherwise classes are
numbered in the order of their names. A split is train, test or val.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, get_args

from ltbench.config.errors import did_you_mean
from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import FileEntry, FileIndex, Part, links_outside

COLUMNS = ("path", "label", "split")


class Row(NamedTuple):
    """A line of a list, and its location `file:line`."""

    location: str
    path: str
    label: str
    split: str | None


@dataclass(frozen=True)
class Table:
    """The valid rows of a list; whether it has a split column."""

    rows: tuple[Row, ...] = ()
    has_splits: bool = True


def list_files(folder: Path, names: Mapping[Part, str], classes: int) -> FileIndex:
    """Read image lists and check that their files exist, without opening them.

    Args:
        folder: of the lists; their paths are relative to it.
        names: list file of each part. Parts may share a list that has a split column.
        classes: number of classes.

    Raises:
        DataError: with all problems: invalid lines, unknown splits and classes, files that are
            missing, listed twice or outside of the folder, parts without images, classes without a
            training image.
    """
    problems: list[str] = []
    tables = {name: _read(folder, name, problems) for name in dict.fromkeys(names.values())}
    for name, table in tables.items():
        parts = [part for part, file in names.items() if file == name]
        if len(parts) > 1 and not table.has_splits:
            problems.append(
                f"{name} needs a column `split`: it is the list of {' and '.join(parts)}"
            )
    rows = {
        part: [row for row in tables[name].rows if row.split in (None, part)]
        for part, name in names.items()
    }
    label_of = _label_of_class([row.label for part in rows.values() for row in part], classes)
    seen: dict[str, str] = {}
    files = {part: tuple(_files(folder, rows[part], label_of, seen, problems)) for part in rows}
    problems += [f"{names[part]} has no {part} images" for part in rows if not rows[part]]
    if len(label_of) != classes:
        problems.append(f"the lists have {len(label_of)} classes, the configuration {classes}")
    in_training = {label_of.get(_class_name(row.label)) for row in rows["train"]}
    problems += [
        f"class {name} has no training image"
        for name, label in label_of.items()
        if label not in in_training
    ]
    if problems:
        raise DataError(f"{folder.absolute()} cannot be used:\n{listed(problems)}", "bad-layout")
    return FileIndex(tuple(label_of), files)


def _read(folder: Path, name: str, problems: list[str]) -> Table:
    """Read the valid rows of a list; add the others to `problems`."""
    try:
        text = (folder / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.append(f"{name} is missing")
        return Table()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name} cannot be read: {error}")
        return Table()
    lines = _cells(text.splitlines())
    columns: Sequence[str] = ()
    rows: list[Row] = []
    for number, cells in lines:
        location = f"{name}:{number}"
        if not columns:
            header = [cell.lower() for cell in cells]
            if {"path", "label"} <= set(header):
                columns = header
                continue
            columns = COLUMNS[: max(2, len(cells))]
        if len(cells) != len(columns):
            problems.append(f"{location}: has {len(cells)} columns, expected {len(columns)}")
            continue
        row = dict(zip(columns, cells, strict=True))
        split = row.get("split")
        if not row["path"] or not row["label"] or "\0" in row["path"]:
            problems.append(f"{location}: has no path or no label")
        elif split is not None and split not in get_args(Part):
            hint = did_you_mean(split, get_args(Part))
            problems.append(f'{location}: unknown split "{split}"' + (f"; {hint}" if hint else ""))
        else:
            rows.append(Row(location, row["path"], row["label"], split))
    return Table(tuple(rows), "split" in columns)


def _cells(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and cells of each line that is not empty."""
    first = next((line for line in lines if line.strip()), "")
    delimiter = next((mark for mark in "\t," if mark in first), None)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if delimiter is None:
            cells = line.rsplit(maxsplit=1)
        else:
            try:
                (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
            except csv.Error:  # an unclosed quote
                cells = []
        yield number, [cell.strip() for cell in cells]


def _class_name(label: str) -> str:
    return str(int(label)) if label.isdecimal() else label


def _label_of_class(labels: Sequence[str], count: int) -> dict[str, int]:
    """Return the class index of each class name, in order."""
    if all(label.isdecimal() for label in labels):
        return {str(k): k for k in range(count)}
    return {name: k for k, name in enumerate(sorted(set(map(_class_name, labels))))}


def _files(
    folder: Path,
    rows: Sequence[Row],
    label_of: Mapping[str, int],
    seen: dict[str, str],
    problems: list[str],
) -> Iterator[FileEntry]:
    """Yield the files of rows; `seen` maps paths to their locations."""
    root = folder.resolve()
    outside: dict[Path, bool] = {}
    for location, path, label, _ in rows:
        file, name = folder / path, _class_name(label)
        if file.parent not in outside:
            outside[file.parent] = not file.parent.resolve().is_relative_to(root)
        if name not in label_of:
            problems.append(f"{location}: class {name} is not below {len(label_of)}")
        elif PurePosixPath(path).is_absolute() or outside[file.parent] or links_outside(file, root):
            problems.append(f"{location}: {path} is outside of the folder")
        elif not file.is_file():
            header = f" (a header line needs {' and '.join(COLUMNS[:2])})"
            hint = header if location.endswith(":1") else ""
            problems.append(f"{location}: file {path} is missing{hint}")
        elif seen.setdefault(path, location) != location:
            problems.append(f"{location}: {path} is already listed in {seen[path]}")
        else:
            stat = file.stat()
            yield FileEntry(path, label_of[name], stat.st_size, stat.st_ctime_ns)
