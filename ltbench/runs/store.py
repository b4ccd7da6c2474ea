"""Records on disk: paths, writing, reading and publishing."""

import contextlib
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ltbench.config.base import SpecPool
from ltbench.config.codes import Code
from ltbench.config.errors import Location, with_code
from ltbench.config.job import Job
from ltbench.config.validation import problems_of
from ltbench.core.files import write_atomically
from ltbench.core.garbage import gc_paused
from ltbench.runs.errors import RecordError
from ltbench.runs.record import MAX_INLINE_CLASSES, SCHEMA_VERSION, EvaluationResult, Record

Provenance = Literal["published", "run"]
SLUG_LENGTH = 40
FOLDER_OPTIONS: Mapping[Provenance, str] = {"run": "--run-dir", "published": "--records"}
COUNT_LENGTH = 32
"""Most bytes of confusion counts per image and per class that are read."""


@dataclass(frozen=True)
class Stored:
    """A record and its file; `name` is relative to the record folder."""

    record: Record
    path: Path
    name: str
    provenance: Provenance


@dataclass(frozen=True)
class BadRecord:
    """A file in the record folder that is no valid record."""

    path: Path
    name: str
    provenance: Provenance
    reason: str
    code: Code = RecordError.code

    def described(self) -> str:
        """Return the reason as the command line prints it, with its code."""
        return with_code(self.reason, self.code)


@dataclass
class Loaded:
    """Valid records by key, and the bad files that are ignored."""

    records: dict[str, Stored] = field(default_factory=dict)
    bad: list[BadRecord] = field(default_factory=list)


def with_dependencies(keys: Iterable[str], records: Mapping[str, Stored]) -> tuple[str, ...]:
    """Return keys and those of all recorded jobs that they depend on."""
    found: dict[str, None] = {}
    pending = list(keys)
    while pending:
        key = pending.pop()
        if key not in found:
            found[key] = None
            pending += records[key].record.job.depends_on if key in records else ()
    return tuple(found)


def slug(text: str) -> str:
    """Return text as a safe part of a file name, not unique."""
    return re.sub(r"[^A-Za-z0-9_.+]+", "-", text).strip("-.")[:SLUG_LENGTH] or "variant"


def record_path(root: Path, job: Job) -> Path:
    """Return the path of a job's record below a root."""
    name = f"{slug(job.label)}-{job.stage}-{job.recipe_name}-s{job.seed}-{job.key}.json"
    return root / job.dataset.id / job.split / job.method / name


def write_record(record: Record, path: Path) -> None:
    """Write a record atomically and durably.

    One line per entry: small in git, readable in a diff. Confusion counts of many classes go into a
    separate file, which is written first. Fields that were not set are left out.
    """
    fields = record.model_dump(mode="json", exclude_unset=True)
    values = fields | {"job": record.job.written()}
    test = values["test"]
    if test and test.get("confusion") and len(test["totals"]) > MAX_INLINE_CLASSES:
        text = json.dumps(test.pop("confusion")).encode()
        test["confusion_sha256"] = hashlib.sha256(text).hexdigest()
        write_atomically(confusion_path(path), gzip.compress(text, mtime=0))
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def confusion_path(path: Path) -> Path:
    """Return the path of a record's separate file of confusion counts."""
    return path.with_suffix(".confusion.json.gz")


def with_confusion(stored: Stored) -> Record:
    """Return a record with its confusion counts, also if in a file.

    Raises:
        RecordError: if that file is missing, or is not the record's.
    """
    record, path = stored.record, confusion_path(stored.path)
    if record.test is None or record.test.confusion_sha256 is None:
        return record
    try:
        with gzip.open(path) as file:
            images, classes = sum(record.test.totals), len(record.test.totals)
            text = file.read(COUNT_LENGTH * (images + classes))
    except (OSError, EOFError, zlib.error) as error:
        message = f"{path.name}, its confusion counts, cannot be read: {error}"
        raise RecordError(message, "unreadable") from error
    if hashlib.sha256(text).hexdigest() != record.test.confusion_sha256:
        raise RecordError(f"{path.name} does not hold its confusion counts", "mismatch")
    values = record.test.model_dump(mode="json", exclude={"confusion_sha256"}, exclude_unset=True)
    try:
        test = EvaluationResult.model_validate({**values, "confusion": json.loads(text)})
    except ValueError as error:
        raise RecordError(f"{path.name}: {error}") from error
    return record.model_copy(update={"test": test})


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecordError(f"{twice!r} is given twice", "duplicate")
    return values


def _no_constant(name: str) -> float:
    raise RecordError(f"{name} is not a valid number")


def read_record(path: Path, pool: SpecPool | None = None) -> Record:
    """Read and validate a record.

    Args:
        path: the file.
        pool: keeps what its job shares with those of other records.

    Raises:
        RecordError: naming every problem with the file.
    """
    try:
        text = path.read_bytes().decode()
        values = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecordError:
        raise
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror}", "unreadable") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON: {error}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int:
        raise RecordError("not a record: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"schema version {version} is newer than this ltbench's ({SCHEMA_VERSION})",
            "out-of-date",
        )
    if version < SCHEMA_VERSION:
        message = f"was written by an older ltbench (schema version {version})"
        raise RecordError(message, "old-protocol")
    try:
        return Record.model_validate_json(text, strict=True, context=pool)
    except ValidationError as error:
        problems = problems_of(Record, error, values, Location(""))
        raise RecordError("; ".join(map(str, problems))) from error


class RecordStore:
    """The published records and those of a run folder."""

    def __init__(self, published: Path | None = None, runs: Path | None = None) -> None:
        self.roots: dict[Provenance, Path] = {}
        if published is not None:
            self.roots["published"] = published
        if runs is not None:
            self.roots["run"] = runs

    @gc_paused()
    def load(self) -> Loaded:
        """Read every record; no file is changed.

        Of two files with the same key the first is used: published before run, then by path. The
        second is a bad file, unless it is the run that the published record was copied from.

        Raises:
            ConfigError: if a record folder is a file.
            RecordError: naming every record folder of an older ltbench, whose keys and fields had
                other names.
        """
        loaded, pool = Loaded(), SpecPool()
        outdated: list[RecordError] = []
        for provenance, root in self.roots.items():
            if root.exists() and not root.is_dir():
                location = Location(FOLDER_OPTIONS[provenance])
                raise location.error("missing-file", f"{root} is not a folder")
            for name in _record_files(root):
                path = root / name
                try:
                    record = read_record(path, pool)
                except RecordError as error:
                    if error.code == "old-protocol":
                        message = f"{root}: {name} {error}; {_advice(provenance)}"
                        outdated.append(RecordError(message, error.code))
                        break
                    loaded.bad.append(BadRecord(path, name, provenance, str(error), error.code))
                    continue
                stored = Stored(record, path, name, provenance)
                first = loaded.records.setdefault(record.key, stored)
                if first is not stored and (conflict := _conflict(first, stored)):
                    loaded.bad.append(BadRecord(path, name, provenance, *conflict))
        if outdated:
            raise RecordError.joined(outdated)
        return loaded

    def quarantine(self, bad: BadRecord) -> Path | None:
        """Move a bad record of a run to the folder `quarantine`.

        Its job will write a new record. Published records are never moved.

        Returns:
            The new path; None if the file was not moved, or was moved or replaced meanwhile.
        """
        if bad.provenance == "published" or _is_valid(bad.path):
            return None
        target = self.roots["run"].parent / "quarantine" / bad.name
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{bad.path.stem}.{number}.json")
        try:
            bad.path.replace(target)
        except FileNotFoundError:
            return None
        with contextlib.suppress(FileNotFoundError):
            confusion_path(bad.path).replace(confusion_path(target))
        return target


def _record_files(root: Path) -> list[str]:
    """Return the paths of all JSON files relative to a root, sorted."""
    paths = []
    for folder, _, names in os.walk(root):
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        paths += [f"{prefix}{name}" for name in names if name.endswith(".json")]
    return sorted(paths)


def _advice(provenance: Provenance) -> str:
    """Return what to do with a record folder of an older ltbench."""
    return f"read this folder with that version, and pass another {FOLDER_OPTIONS[provenance]}"


def _is_valid(path: Path) -> bool:
    try:
        read_record(path)
    except RecordError:
        return False
    return True


def _conflict(first: Stored, second: Stored) -> tuple[str, Code] | None:
    """Return message and code of a conflict between two files."""
    same = first.record.repeats(second.record)
    if first.provenance != second.provenance:
        reason = f"other numbers than the {first.provenance} {first.name}"
        return None if same else (reason, "mismatch")
    if same:
        return f"a copy of {first.name}", "duplicate"
    return f"other numbers than {first.name}", "mismatch"


def publish(runs: Path, keys: Iterable[str], published: Path) -> list[Path]:
    """Copy records of a run folder to the published ones.

    A record that is already published with the same numbers is left as it is.

    Args:
        runs: folder of the run's records.
        keys: of the records to publish.
        published: folder of the published records.

    Returns:
        The files written.

    Raises:
        RecordError: naming every key without a valid record and every file that would be replaced;
            nothing is written then.
    """
    run_records = RecordStore(runs=runs).load().records
    published_records = RecordStore(published=published).load().records
    problems: list[RecordError] = []
    new: dict[Path, Record] = {}
    for key in dict.fromkeys(keys):
        if key not in run_records:
            message = f"{key}: no valid record in {runs}"
            problems.append(RecordError(message, "missing-record"))
            continue
        try:
            record = with_confusion(run_records[key])
        except RecordError as error:
            problems.append(RecordError(f"{key}: {error}", error.code))
            continue
        path = record_path(published, record.job)
        if key not in published_records:
            new[path] = record
            if path.exists():
                message = f"{key}: {path} exists and is not a valid record; remove it first"
                problems.append(RecordError(message))
        elif not published_records[key].record.repeats(record):
            message = f"{key}: published with other numbers in {published_records[key].path}"
            problems.append(RecordError(message, "mismatch"))
    if problems:
        raise RecordError.joined(problems)
    for path, record in new.items():
        write_record(record, path)
    return list(new)
