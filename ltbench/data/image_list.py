"""The files that lists of one's own name: a line each, `path,label` or `path,label,split`.

Columns are parted by commas or tabs; in a list without either they are two, parted by the last
space of a line. A first line with the words `path` and `label` says the order of columns; others
than these and `split` are passed over. Labels that are all numbers are those of the classes, from
0; otherwise classes are numbered in the order of their names. A split is train, test or val.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, get_args

from ltbench.config.errors import did_you_mean
from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import FileEntry, FileIndex, Part, leads_out

COLUMNS = ("path", "label", "split")


class Row(NamedTuple):
    """A line of a list: where it stands, as `file:line`, and what it says."""

    place: str
    path: str
    label: str
    split: str | None


@dataclass(frozen=True)
class Table:
    """The sound lines of a list, and whether they say which part they belong to."""

    rows: tuple[Row, ...] = ()
    has_splits: bool = True


def list_files(folder: Path, names: Mapping[Part, str], classes: int) -> FileIndex:
    """Read lists and look for their files, without opening these.

    Args:
        folder: that the lists lie in, and that their paths start from.
        names: file of each part's list. Parts may share one that has a column of splits.
        classes: how many there are.

    Raises:
        DataError: with everything that is wrong: lines that cannot be read, splits and classes that
            do not exist, files that are missing, listed twice or outside the folder, parts without
            images, classes without a training image.
    """
    problems: list[str] = []
    tables = {name: _read(folder, name, problems) for name in dict.fromkeys(names.values())}
    for name, table in tables.items():
        parts = [part for part, file in names.items() if file == name]
        if len(parts) > 1 and not table.has_splits:
            problems.append(f"{name} needs a column split, as the list of {' and '.join(parts)}")
    rows = {
        part: [row for row in tables[name].rows if row.split in (None, part)]
        for part, name in names.items()
    }
    known = _classes([row.label for part in rows.values() for row in part], classes)
    seen: dict[str, str] = {}
    files = {part: tuple(_files(folder, rows[part], known, seen, problems)) for part in rows}
    problems += [f"{names[part]} has no {part} images" for part in rows if not rows[part]]
    if len(known) != classes:
        problems.append(f"the lists have {len(known)} classes, the configuration {classes}")
    trained = {known.get(_plain(row.label)) for row in rows["train"]}
    problems += [
        f"class {name} has no training image" for name in known if known[name] not in trained
    ]
    if problems:
        raise DataError(f"{folder.absolute()} cannot be used:\n{listed(problems)}", "bad-layout")
    return FileIndex(tuple(known), files)


def _read(folder: Path, name: str, problems: list[str]) -> Table:
    """Return the rows of a list; note what is wrong with its lines."""
    try:
        text = (folder / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.append(f"{name} is not there")
        return Table()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name} cannot be read: {error}")
        return Table()
    lines = _cells(text.splitlines())
    columns: Sequence[str] = ()
    rows: list[Row] = []
    for number, cells in lines:
        place = f"{name}:{number}"
        if not columns:
            words = [cell.lower() for cell in cells]
            if {"path", "label"} <= set(words):
                columns = words
                continue
            columns = COLUMNS[: max(2, len(cells))]
        if len(cells) != len(columns):
            problems.append(f"{place}: has {len(cells)} columns, not {len(columns)}")
            continue
        row = dict(zip(columns, cells, strict=True))
        split = row.get("split")
        if not row["path"] or not row["label"] or "\0" in row["path"]:
            problems.append(f"{place}: has no path or no label")
        elif split is not None and split not in get_args(Part):
            meant = did_you_mean(split, get_args(Part))
            problems.append(
                f'{place}: there is no split "{split}"' + (f"; {meant}" if meant else "")
            )
        else:
            rows.append(Row(place, row["path"], row["label"], split))
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
            except csv.Error:  # a cell without end
                cells = []
        yield number, [cell.strip() for cell in cells]


def _plain(label: str) -> str:
    return str(int(label)) if label.isdecimal() else label


def _classes(labels: Sequence[str], count: int) -> dict[str, int]:
    """Return the classes that labels name, in order."""
    if all(label.isdecimal() for label in labels):
        return {str(k): k for k in range(count)}
    return {name: k for k, name in enumerate(sorted(set(map(_plain, labels))))}


def _files(
    folder: Path,
    rows: Sequence[Row],
    known: Mapping[str, int],
    seen: dict[str, str],
    problems: list[str],
) -> Iterator[FileEntry]:
    """Yield the files of rows; `seen` are the places of paths that were listed before."""
    inside = folder.resolve()
    outside: dict[Path, bool] = {}
    for place, path, label, _ in rows:
        file, name = folder / path, _plain(label)
        if file.parent not in outside:
            outside[file.parent] = not file.parent.resolve().is_relative_to(inside)
        if name not in known:
            problems.append(f"{place}: class {name} is not below {len(known)}")
        elif PurePosixPath(path).is_absolute() or outside[file.parent] or leads_out(file, inside):
            problems.append(f"{place}: {path} leads out of the folder")
        elif not file.is_file():
            named = f" (or a header, without {' and '.join(COLUMNS[:2])})"
            hint = named if place.endswith(":1") else ""
            problems.append(f"{place}: there is no file {path}{hint}")
        elif seen.setdefault(path, place) != place:
            problems.append(f"{place}: {path} is listed before, in {seen[path]}")
        else:
            stat = file.stat()
            yield FileEntry(path, known[name], stat.st_size, stat.st_ctime_ns)
