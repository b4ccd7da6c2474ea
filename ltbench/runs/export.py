"""Exported runs: a folder of weights, configuration, record and model card.

No code is ever loaded from it: weights are safetensors, the rest is text that is validated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ltbench.config.base import Model
from ltbench.config.errors import (
    Location,
    Problem,
    collect_errors,
    did_you_mean,
    format_value,
    raise_all,
)
from ltbench.config.job import Job
from ltbench.config.keys import file_hash
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, dump_yaml, read_yaml
from ltbench.core.files import write_atomically
from ltbench.runs.errors import RecordError
from ltbench.runs.record import Record
from ltbench.runs.run_dir import JobFolder
from ltbench.runs.store import Stored, confusion_path, read_record, with_confusion, write_record

WEIGHTS, CONFIG, RECORD, CARD = "weights.safetensors", "config.yaml", "record.json", "README.md"
ONNX = "model.onnx"

MATCHES = 5
"""Keys that an error shows of those that begin with a prefix."""


class ExportConfig(Model):
    """Content of `config.yaml`: the job, and its class names if known."""

    classes: tuple[str, ...] | None
    job: Job


@dataclass(frozen=True)
class Export:
    """An exported run; `weights` is the path of its weights file."""

    config: ExportConfig
    record: Record
    weights: Path

    def require_test(self) -> None:
        """Check that the run predicts classes.

        Raises:
            ConfigError: if it is a pre-training stage.
        """
        if self.record.test is None:
            message = "is a pre-training stage, which predicts no classes"
            raise self._location.at("job", "stage").error("no-effect", message)

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes.

        Raises:
            ConfigError: if they are unknown.
        """
        if self.config.classes is None:
            raise self._location.at("classes").error(
                "missing-key",
                "the export has no class names; export the run again where its dataset is present",
            )
        return self.config.classes

    @property
    def _location(self) -> Location:
        return Location(display(self.weights.with_name(CONFIG)))


def find_run(key: str, records: Mapping[str, Stored]) -> Record:
    """Return the record whose key begins with a prefix.

    Raises:
        ConfigError: if the prefix is empty, or there is none, or more than one.
        RecordError: if its file of confusion counts is missing, or is not its own.
    """
    location = Location("RUN")
    if not key:
        raise location.error("unknown-run", "is empty; name a key", did_you_mean(key, records))
    matches = sorted(name for name in records if name.startswith(key))
    if len(matches) == 1:
        return with_confusion(records[matches[0]])
    if matches:
        shown = [*matches[:MATCHES], "..."] if len(matches) > MATCHES else matches
        message = f"{len(matches)} runs begin with {format_value(key)}: {', '.join(shown)}"
        raise location.error("unknown-run", message)
    message = f"no record has the key {format_value(key)}"
    raise location.error("unknown-run", message, did_you_mean(key, records))


def write_export(
    record: Record,
    job_folder: JobFolder,
    classes: tuple[str, ...] | None,
    card: str,
    folder: Path,
) -> list[Path]:
    """Write a run to a folder.

    Args:
        record: of the run.
        job_folder: folder with the weights.
        classes: names of the classes, if known.
        card: the model card, in markdown.
        folder: to write to.

    Returns:
        The files written.

    Raises:
        ConfigError: if the folder has such files of something else.
        RecordError: if the weights of the record are missing.
    """
    _check_target(folder, record.key)
    if not job_folder.has_weights(record.weights.sha256):
        raise RecordError(
            f"{job_folder.weights} is missing, or not the weights of the record", "mismatch"
        )
    paths = [folder / name for name in (WEIGHTS, CONFIG, RECORD, CARD)]
    weights, config, record_file, readme = paths
    confusion = confusion_path(record_file)
    confusion.unlink(missing_ok=True)  # of an earlier export
    write_record(record, record_file)  # first: an interrupted export can be repeated
    write_atomically(weights, job_folder.weights.read_bytes())
    values = ExportConfig(classes=classes, job=record.job).model_dump(mode="json")
    write_atomically(config, dump_yaml(values).encode())
    write_atomically(readme, card.encode())
    return [*paths, confusion] if confusion.exists() else paths


def _check_target(folder: Path, key: str) -> None:
    """Refuse a folder with such files of something else."""
    present = [name for name in (WEIGHTS, CONFIG, RECORD, CARD, ONNX) if (folder / name).exists()]
    if not present:
        return
    try:
        same = read_record(folder / RECORD).key == key
    except RecordError:
        same = False
    if not same:
        message = f"has {' and '.join(present)} of something else than an export of {key}"
        raise Location(display(folder)).error("conflict", message, "name another folder by --to")


def read_export(folder: Path) -> Export:
    """Read an exported run and check that its parts match.

    Raises:
        ConfigError: naming every problem with its configuration, if that alone is invalid.
        RecordError: naming everything that is wrong with its parts.
    """
    if not (folder / RECORD).is_file():
        message = "is no folder" if not folder.is_dir() else f"has no {RECORD}"
        raise Location(display(folder)).error(
            "missing-file", f"{message}; expected a folder written by `ltbench results export`"
        )
    bad: list[RecordError] = []
    try:
        record = read_record(folder / RECORD)
    except RecordError as error:
        bad.append(RecordError(f"{folder / RECORD}: {error}", error.code))
    weights = folder / WEIGHTS
    if not weights.is_file() or (not bad and file_hash(weights) != record.weights.sha256):
        message = f"{weights} is missing, or not the weights of the record"
        bad.append(RecordError(message, "mismatch"))
    problems: list[Problem] = []
    with collect_errors(problems):
        value, locate = read_yaml(folder / CONFIG)
        config = validate(ExportConfig, value, Location(display(folder / CONFIG), locate))
    if bad:
        raise RecordError.joined([*bad, *(RecordError(str(p), p.code) for p in problems)])
    raise_all(problems)
    _check_config(folder / CONFIG, config, record)
    return Export(config, record, weights)


def _check_config(path: Path, config: ExportConfig, record: Record) -> None:
    """Check that a configuration is that of a record."""
    bad: list[RecordError] = []
    if config.job.key != record.key:
        message = f"{path} is of job {config.job.key}, its record {record.key}"
        bad.append(RecordError(message, "mismatch"))
    if config.classes is not None and len(config.classes) != record.job.dataset.classes:
        message = f"{path} names {len(config.classes)} classes, the dataset has "
        bad.append(RecordError(f"{message}{record.job.dataset.classes}", "mismatch"))
    if bad:
        raise RecordError.joined(bad)
