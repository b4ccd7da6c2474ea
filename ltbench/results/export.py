"""A run as a folder to keep or to hand on: weights, configuration, record and model card.

Nothing in it is ever run: weights are safetensors, the rest is text that is checked when read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import yaml

from ltbench.config.catalogue import MethodInfo
from ltbench.config.errors import Source, did_you_mean, show
from ltbench.config.keys import file_hash
from ltbench.config.models import Job, Model
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml
from ltbench.results.board import DECIMALS, EMPTY
from ltbench.results.errors import RecordError
from ltbench.results.exact import fixed, mean_accuracy, measured
from ltbench.results.groups import GROUPS, RULES, class_groups, group_accuracies
from ltbench.results.record import Record, TestResult
from ltbench.results.render import escape_markdown, markdown
from ltbench.results.store import Stored, read_record, write_record
from ltbench.results.tables import Cell, Table
from ltbench.results.workspace import JobFolder, write_atomically

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
    """
    found = [name for name in records if name.startswith(key)]
    if len(found) == 1:
        return records[found[0]].record
    source = Source("RUN")
    if found:
        raise source.error(f"{len(found)} runs begin with {show(key)}: {', '.join(sorted(found))}")
    raise source.error(f"no record has the key {show(key)}", did_you_mean(key, records))


def write_export(
    record: Record,
    job_folder: JobFolder,
    classes: tuple[str, ...] | None,
    info: MethodInfo,
    folder: Path,
) -> list[Path]:
    """Write a run into a folder.

    Args:
        record: of the run.
        job_folder: where its weights are.
        classes: names of the classes, where they are known.
        info: what is known of its method.
        folder: to be written to.

    Returns:
        The files.

    Raises:
        RecordError: where the weights of the record are not there.
    """
    if not job_folder.has_weights(record.weights.sha256):
        raise RecordError(f"{job_folder.weights} is not there, or not what the record is of")
    paths = [folder / name for name in (WEIGHTS, CONFIG, RECORD, CARD)]
    weights, config, facts, card = paths
    write_atomically(weights, job_folder.weights.read_bytes())
    values = ExportConfig(classes=classes, job=record.job).model_dump(mode="json")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    write_atomically(config, text.encode())
    write_record(record, facts)
    write_atomically(card, _card(record, info).encode())
    return paths


def read_export(folder: Path) -> Export:
    """Read an exported run and check that its parts belong together.

    Raises:
        ConfigError: naming everything wrong with its configuration.
        RecordError: saying what is wrong with its record, or that other parts are not of it.
    """
    value, locate = read_yaml(folder / CONFIG)
    config = validate(ExportConfig, value, Source(display(folder / CONFIG), locate))
    try:
        record = read_record(folder / RECORD)
    except RecordError as error:
        raise RecordError(f"{folder / RECORD}: {error}") from error
    if config.job.key != record.key:
        raise RecordError(f"{folder / CONFIG} is of job {config.job.key}, its record {record.key}")
    if config.classes is not None and len(config.classes) != record.job.dataset.classes:
        raise RecordError(f"{folder / CONFIG} names {len(config.classes)} classes, not all")
    weights = folder / WEIGHTS
    if not weights.is_file() or file_hash(weights) != record.weights.sha256:
        raise RecordError(f"{weights} is not there, or not what the record is of")
    return Export(config, record, weights)


def accuracy_table(result: TestResult, record: Record, title: str) -> Table:
    """Return the accuracies of a test, over all classes and by the groups of a run.

    Args:
        result: of the test.
        record: of the run, whose long-tailed split says which class is in which group.
        title: what was tested.
    """
    rule = record.job.dataset.groups
    groups = class_groups(record.split.longtailed_counts, rule)
    within = group_accuracies(result.hits, result.totals, groups)
    numbers: dict[str, Fraction | None] = {
        "Acc": result.accuracy,
        "Balanced acc": mean_accuracy(result.hits, result.totals),
        **{group.capitalize(): within[group] for group in GROUPS},
        "ECE": measured(result.calibration.ece),
    }
    return Table(
        name="test",
        title=title,
        caption=f"In %. Groups: {RULES[rule]}.",
        columns=("Images", *numbers),
        rows=((Cell(str(sum(result.totals))), *(Cell(_percent(n)) for n in numbers.values())),),
    )


def _percent(fraction: Fraction | None) -> str:
    return EMPTY if fraction is None else fixed(100 * fraction, DECIMALS)


def _card(record: Record, info: MethodInfo) -> str:
    """Return the model card, in markdown."""
    job, recipe, counts = record.job, record.job.recipe, record.split.train_counts
    paper = ""
    if info.paper is not None:
        said = f"{info.paper.authors}: {info.paper.title}. {info.paper.venue} {info.paper.year}."
        paper = f"\n- Paper: {escape_markdown(said)}"
    facts = f"""\
# {escape_markdown(job.label)} on {escape_markdown(job.dataset.title)}

An image classifier, trained on the {job.split} split of {job.dataset.id} with ltbench.

- Method: {escape_markdown(info.title)} (`{job.method}`, version {job.version}), stage {job.stage}\
{paper}
- Images: {sum(counts)} of {len(counts)} classes, {min(counts)} to {max(counts)} each
- Recipe: {escape_markdown(recipe.title)} (`{job.recipe_name}`), network {recipe.network}
- Parameters: {record.weights.parameters:,}; SHA-256 of the weights: {record.weights.sha256}
- Trained with ltbench {record.environment.ltbench}, torch {record.environment.torch}; key \
{record.key}, seed {job.seed}
"""
    parts = [facts]
    if record.test is not None:
        parts.append(markdown(accuracy_table(record.test, record, "Test, last epoch"), level=2))
    parts.append(
        "## Use\n\n`ltbench evaluate` and the path of this folder tests it again; `--images` names "
        "a folder with a\nfolder of images a class. `config.yaml` says how images are made ready "
        "and what the classes are called.\n"
    )
    return "\n".join(parts)
