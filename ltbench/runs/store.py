"""Records on disk: where they lie, how they are written, read and published."""

import contextlib
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ltbench.config.codes import Code
from ltbench.config.errors import with_code
from ltbench.config.models import Job
from ltbench.core.files import write_atomically
from ltbench.runs.errors import RecordError
from ltbench.runs.record import CLASSES_WITHIN, SCHEMA_VERSION, EvaluationResult, Record

Provenance = Literal["published", "run"]
SLUG_LENGTH = 40
OTHER_FOLDER = "read this folder with that one, and use others here (--run-dir, --records)"
COUNT_LENGTH = 32
"""Bytes of confusion counts for an image or a class, at most: what is longer is not read."""


@dataclass(frozen=True)
class Stored:
    """A record and where it was found; `place` is its path below the root."""

    record: Record
    path: Path
    place: str
    provenance: Provenance


@dataclass(frozen=True)
class BadRecord:
    """A file among the records that no table may use, and why."""

    path: Path
    place: str
    provenance: Provenance
    reason: str
    code: Code = RecordError.code

    def described(self) -> str:
        """Return the reason as the command line prints it, with its code."""
        return with_code(self.reason, self.code)


@dataclass
class Loaded:
    """What a store holds: sound records by key, and the files that were set aside."""

    records: dict[str, Stored] = field(default_factory=dict)
    bad: list[BadRecord] = field(default_factory=list)


def slug(text: str) -> str:
    """Return a safe part of a file name; what looks alike may have the same."""
    return re.sub(r"[^A-Za-z0-9_.+]+", "-", text).strip("-.")[:SLUG_LENGTH] or "variant"


def record_path(root: Path, job: Job) -> Path:
    """Return where the record of a job lies below a root."""
    name = f"{slug(job.label)}-{job.stage}-{job.recipe_name}-s{job.seed}-{job.key}.json"
    return root / job.dataset.id / job.split / job.method / name


def write_record(record: Record, path: Path) -> None:
    """Write a record so that it is whole and on the disk, or not there at all.

    One line an entry: small in git, readable in a diff. Confusion counts of many classes go into a
    file beside it, which is there before the record is. Fields that the record was made without are
    left out: what an older one lacks, and defaults.
    """
    made = record.model_dump(mode="json", exclude_unset=True)
    values = made | {"job": record.job.written()}
    test = values["test"]
    if test and test.get("confusion") and len(test["totals"]) > CLASSES_WITHIN:
        text = json.dumps(test.pop("confusion")).encode()
        test["confusion_sha256"] = hashlib.sha256(text).hexdigest()
        write_atomically(confusion_path(path), gzip.compress(text, mtime=0))
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def confusion_path(path: Path) -> Path:
    """Return the file beside a record that has its confusion counts, of more classes than it."""
    return path.with_suffix(".confusion.json.gz")


def with_confusion(stored: Stored) -> Record:
    """Return a record with its confusion counts, also where they are in the file beside it.

    Raises:
        RecordError: where that file is not there, or not the record's.
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
    left_out = {"confusion_sha256"}
    values = record.test.model_dump(mode="json", exclude=left_out, exclude_unset=True)
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
    raise RecordError(f"{name} is not a number that a record may hold")


def read_record(path: Path) -> Record:
    """Read and check a record.

    Raises:
        RecordError: saying what is wrong with the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
        return Record.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = (
            ".".join(map(str, problem["loc"])) + ": " + problem["msg"]
            for problem in error.errors(include_url=False, include_context=False)
        )
        raise RecordError("; ".join(problems)) from error


class RecordStore:
    """Published records and those of a run folder, read together."""

    def __init__(self, published: Path | None = None, runs: Path | None = None) -> None:
        self.roots: dict[Provenance, Path] = {}
        if published is not None:
            self.roots["published"] = published
        if runs is not None:
            self.roots["run"] = runs

    def load(self) -> Loaded:
        """Read every record; nothing is moved or changed.

        Of two files with one key the first stands, published before run, then by path. The other is
        a problem, unless it is the run that the published record was copied from.

        Raises:
            RecordError: for a record of an older ltbench, whose keys and fields had other names.
        """
        loaded = Loaded()
        for provenance, root in self.roots.items():
            for place in _places(root):
                path = root / place
                try:
                    record = read_record(path)
                except RecordError as error:
                    if error.code == "old-protocol":
                        raise RecordError(f"{path} {error}; {OTHER_FOLDER}", error.code) from error
                    loaded.bad.append(BadRecord(path, place, provenance, str(error), error.code))
                    continue
                stored = Stored(record, path, place, provenance)
                first = loaded.records.setdefault(record.key, stored)
                if first is not stored and (conflict := _conflict(first, stored)):
                    loaded.bad.append(BadRecord(path, place, provenance, *conflict))
        return loaded

    def quarantine(self, bad: BadRecord) -> Path | None:
        """Move a bad record of a run out of the way of the job that will write it anew.

        It goes to `quarantine/` beside the records, under its own name or a numbered one: nothing
        is lost. Published records are left to whoever keeps them.

        Returns:
            Where it lies now; None where it was left, or was mended or moved by someone else.
        """
        if bad.provenance == "published" or _is_sound(bad.path):
            return None
        target = self.roots["run"].parent / "quarantine" / bad.place
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


def _places(root: Path) -> list[str]:
    """Return the paths of all JSON files below a root, sorted."""
    found = []
    for folder, _, names in os.walk(root):
        below = Path(folder).relative_to(root)
        found += [(below / name).as_posix() for name in names if name.endswith(".json")]
    return sorted(found)


def _is_sound(path: Path) -> bool:
    try:
        read_record(path)
    except RecordError:
        return False
    return True


def _conflict(first: Stored, second: Stored) -> tuple[str, Code] | None:
    """Return message and code of a conflict between files of one key."""
    same = first.record.repeats(second.record)
    if first.provenance != second.provenance:
        reason = f"other numbers than the {first.provenance} {first.place}"
        return None if same else (reason, "mismatch")
    if same:
        return f"a copy of {first.place}", "duplicate"
    return f"other numbers than {first.place}", "mismatch"


def publish(runs: Path, keys: Iterable[str], published: Path) -> list[Path]:
    """Copy records of a run into the published ones.

    A record that is published already with the same numbers is left as it is.

    Args:
        runs: root of the run's records.
        keys: of the records to publish.
        published: root of the published records.

    Returns:
        The files written.

    Raises:
        RecordError: naming every key without a sound record and every file that would be replaced;
            nothing has then been written.
    """
    ours = RecordStore(runs=runs).load().records
    theirs = RecordStore(published=published).load().records
    problems: list[RecordError] = []
    new: dict[Path, Record] = {}
    for key in dict.fromkeys(keys):
        if key not in ours:
            message = f"{key}: no sound record in {runs}"
            problems.append(RecordError(message, "missing-record"))
            continue
        try:
            record = with_confusion(ours[key])
        except RecordError as error:
            problems.append(RecordError(f"{key}: {error}", error.code))
            continue
        path = record_path(published, record.job)
        if key not in theirs:
            new[path] = record
            if path.exists():
                message = f"{key}: {path} is not a sound record and in the way"
                problems.append(RecordError(message))
        elif not theirs[key].record.repeats(record):
            message = f"{key}: published with other numbers in {theirs[key].path}"
            problems.append(RecordError(message, "mismatch"))
    if problems:
        raise RecordError.joined(problems)
    for path, record in new.items():
        write_record(record, path)
    return list(new)
