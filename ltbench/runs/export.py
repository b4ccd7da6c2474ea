"""A run as a folder to keep or to hand on: weights, configuration, record and model card.

Nothing in it is ever run: weights are safetensors, the rest is text that is checked when read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from ltbench.config.errors import Location, did_you_mean, format_value
from ltbench.config.keys import file_hash
from ltbench.config.models import Job, Model
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml
from ltbench.core.files import write_atomically
from ltbench.runs.errors import RecordError
from ltbench.runs.record import Record
from ltbench.runs.run_dir import JobFolder
from ltbench.runs.store import Stored, confusion_path, read_record, with_confusion, write_record

WEIGHTS, CONFIG, RECORD, CARD = "weights.safetensors", "config.yaml", "record.json", "README.md"


class ExportConfig(Model):
    """What `config.yaml` holds: the job, and the names of its classes where they are known."""

    classes: tuple[str, ...] | None
    job: Job


@dataclass(frozen=True)
class Export:
    """An exported run; `weights` is the path of its file, which is that of the record."""

    config: ExportConfig
    record: Record
    weights: Path


def find_run(key: str, records: Mapping[str, Stored]) -> Record:
    """Return the record whose key begins so.

    Raises:
        ConfigError: where there is none, or more than one.
        RecordError: where the file of its confusion counts is not there or not its own.
    """
    found = [name for name in records if name.startswith(key)]
    if len(found) == 1:
        return with_confusion(records[found[0]])
    location = Location("RUN")
    if found:
        raise location.error(
            "unknown-run",
            f"{len(found)} runs begin with {format_value(key)}: {', '.join(sorted(found))}",
        )
    message = f"no record has the key {format_value(key)}"
    raise location.error("unknown-run", message, did_you_mean(key, records))


def write_export(
    record: Record,
    job_folder: JobFolder,
    classes: tuple[str, ...] | None,
    card: str,
    folder: Path,
) -> list[Path]:
    """Write a run into a folder.

    Args:
        record: of the run.
        job_folder: where its weights are.
        classes: names of the classes, where they are known.
        card: the model card, in markdown.
        folder: to be written to.

    Returns:
        The files.

    Raises:
        RecordError: where the weights of the record are not there.
    """
    if not job_folder.has_weights(record.weights.sha256):
        raise RecordError(
            f"{job_folder.weights} is not there, or not what the record is of", "mismatch"
        )
    paths = [folder / name for name in (WEIGHTS, CONFIG, RECORD, CARD)]
    weights, config, facts, page = paths
    write_atomically(weights, job_folder.weights.read_bytes())
    values = ExportConfig(classes=classes, job=record.job).model_dump(mode="json")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    write_atomically(config, text.encode())
    write_record(record, facts)
    write_atomically(page, card.encode())
    return [*paths, beside] if (beside := confusion_path(facts)).exists() else paths


def read_export(folder: Path) -> Export:
    """Read an exported run and check that its parts belong together.

    Raises:
        ConfigError: naming everything wrong with its configuration.
        RecordError: saying what is wrong with its record, or that other parts are not of it.
    """
    value, locate = read_yaml(folder / CONFIG)
    config = validate(ExportConfig, value, Location(display(folder / CONFIG), locate))
    try:
        record = read_record(folder / RECORD)
    except RecordError as error:
        raise RecordError(f"{folder / RECORD}: {error}", error.code) from error
    if config.job.key != record.key:
        raise RecordError(
            f"{folder / CONFIG} is of job {config.job.key}, its record {record.key}", "mismatch"
        )
    if config.classes is not None and len(config.classes) != record.job.dataset.classes:
        raise RecordError(
            f"{folder / CONFIG} names {len(config.classes)} classes, not all", "mismatch"
        )
    weights = folder / WEIGHTS
    if not weights.is_file() or file_hash(weights) != record.weights.sha256:
        raise RecordError(f"{weights} is not there, or not what the record is of", "mismatch")
    return Export(config, record, weights)
