"""ltbench: a benchmark suite for deep long-tailed learning on PyTorch Lightning."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from ltbench.analysis.runs import Runs
    from ltbench.training.classifier import Classifier

__version__ = "0.1.0"

PUBLISHED = "results/records"
"""Folder of the published records, by default."""

RUNS = "runs"
"""Run folder, by default."""


def load_runs(
    published: "str | PathLike[str]" = PUBLISHED,
    runs: "str | PathLike[str]" = RUNS,
    plugins: "Iterable[str | PathLike[str]]" = (),
) -> "Runs":
    """Return the table of all runs, one row per record.

    Args:
        published: folder of the published records; one of both folders may be missing.
        runs: run folder; the published record counts if a job is in both.
        plugins: Python files with metrics of your own; they are executed.

    Raises:
        FileNotFoundError: if neither folder exists, or none of those that are named.
        ValueError: if `published` is a run folder.
        ConfigError: if a plugin cannot be used.
    """
    from pathlib import Path

    from ltbench.analysis.runs import read_runs
    from ltbench.launch.plan import read_registry

    defaults = (PUBLISHED, RUNS)
    named = [str(folder) for folder in (published, runs) if folder not in defaults]
    if not any(Path(folder).is_dir() for folder in named or defaults):
        raise FileNotFoundError(f"no records: no folder {' or '.join(named or defaults)}")
    read_registry([Path(path) for path in plugins])
    return read_runs(Path(published), Path(runs))


def load(
    export: "str | PathLike[str]", plugins: "Iterable[str | PathLike[str]]" = ()
) -> "Classifier":
    """Load the classifier of an exported run, on the CPU.

    Args:
        export: folder written by `ltbench results export`.
        plugins: Python files with methods of your own; they are executed.

    Raises:
        ConfigError: if the export's configuration or a plugin cannot be used.
        RecordError: if its record is invalid, or its files do not belong together.
    """
    from pathlib import Path

    from ltbench.runs.export import read_export
    from ltbench.training.classifier import load

    return load(read_export(Path(export)), tuple(map(str, plugins)))
