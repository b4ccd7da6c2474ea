"""Weights & Biases: one run mirrors one job.

A job never depends on its mirror: nothing prompts for input, and failures are warnings. The package
is imported only when a run is opened.

An attempt that resumes a job logs the earlier epochs again, at their steps. Offline, where each
attempt has its own folder, the last one is complete; online, steps that the server has are skipped.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.analysis.metrics import metric_values
from ltbench.config.job import Job
from ltbench.runs.export import RECORD
from ltbench.runs.record import EvaluationResult, Record
from ltbench.runs.store import confusion_path
from ltbench.tracking.mode import Mode

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger

TIMEOUT = 20.0
"""Seconds that a job waits for the server at its start, and again at its end.

At the end the package may wait as long once more, before it uploads the record.
"""

CONFUSION_PANEL = "wandb/confusion_matrix/v1"
"""The server's panel of confusion matrices."""

NAME_LENGTH = 128
TAG_LENGTH = 64
"""Longest name and tag that the server accepts."""


def open_run(job: Job, grid: str, directory: Path, mode: Mode) -> "WandbLogger | None":
    """Open the run of a job, with the job's key as id.

    Args:
        job: about to run.
        grid: name of the grid, which groups the runs.
        directory: the job's folder; the package creates its `wandb` folder there.
        mode: "auto" is online if credentials are configured (and `WANDB_MODE` permits), else
            offline; also offline if the server does not answer.

    Returns:
        Lightning's logger of the run. None if off, on every rank but the first, and if no run
        could be opened.
    """
    disabled = mode == "auto" and os.environ.get("WANDB_MODE") == "disabled"
    if mode == "off" or disabled or os.environ.get("RANK", "0") != "0":
        return None
    online = False
    if mode != "offline":
        with _ErrorsAsWarnings("looking for credentials"):
            online = logged_in()
            if mode == "online" and not online:
                raise PermissionError("not logged in (`wandb login`), the run stays offline")
    for attempt in ("online", "offline") if online else ("offline",):
        with _ErrorsAsWarnings(f"opening an {attempt} run"):
            return _open(job, grid, directory, attempt)
        _end_service()
    return None


def log_epoch(logger: "WandbLogger", epoch: int, metrics: dict[str, float]) -> None:
    """Log the metrics of an epoch (from 1), unless logged before."""
    with _ErrorsAsWarnings("logging an epoch"):
        run = logger.experiment
        if epoch >= run.starting_step:
            run.log({"epoch": epoch, **metrics}, step=epoch, commit=True)


def finish(logger: "WandbLogger", record: Record | None, path: Path) -> None:
    """Close the run of a job with the result of its record.

    Args:
        logger: the job's logger, not to be used afterwards.
        record: None marks the job as failed. Call it for failed jobs too: an offline run that is
            not closed before its process ends loses its data.
        path: of the record's file, which becomes an artifact of the run.
    """
    if record is not None:
        run = logger.experiment
        with _ErrorsAsWarnings("logging the result"):
            facts = {
                **data_hashes(record),
                "environment": record.environment.model_dump(mode="json"),
            }
            run.config.update(facts, allow_val_change=True)
            run.summary.update(summary_metrics(record) | _seconds(record))
            if record.test is not None:
                run.log({"per_class": _per_class(record, record.test)})
                if record.test.confusion is not None:
                    run.log({"confusion": _confusion(record, record.test.confusion)})
        with _ErrorsAsWarnings("logging the record"):  # may contact the server
            run.log_artifact(_artifact(record, path))
    with _ErrorsAsWarnings("closing the run"):
        logger.experiment.finish(exit_code=int(record is None))
    _end_service()


def project() -> str:
    """Return the project of the runs."""
    return os.environ.get("WANDB_PROJECT", "ltbench")


def logged_in() -> bool:
    """Return whether credentials are configured, without prompt or network."""
    import wandb

    wandb.setup(settings=wandb.Settings(silent=True))
    return bool(wandb.login(prompt=False, verify=False))


def _open(job: Job, grid: str, directory: Path, mode: str) -> "WandbLogger":
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f"{directory} is not writable")  # the package would use /tmp
    tags = (job.dataset.id, job.split, job.method, job.recipe_name)
    run = wandb.init(
        project=project(),
        id=job.key,
        resume="allow",
        reinit="finish_previous",
        dir=directory,
        group=grid,
        job_type=_job_type(job),
        tags=[tag[:TAG_LENGTH] for tag in tags],
        name=job.title[:NAME_LENGTH],
        config=job.model_dump(mode="json"),
        settings=wandb.Settings(
            mode=mode,
            silent=True,
            console="off",
            init_timeout=TIMEOUT,
            finish_timeout=TIMEOUT,
            disable_git=True,
            save_code=False,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )
    run.define_metric("epoch", hidden=True)
    run.define_metric("*", step_metric="epoch")
    return WandbLogger(experiment=run, id=run.id, project=run.project, name=run.name)


def _end_service() -> None:
    """End the package's background process after it has written everything."""
    import wandb

    with _ErrorsAsWarnings("ending the service"):
        wandb.teardown()


def _job_type(job: Job) -> str:
    if job.split == "balanced":
        return "balanced-ref"
    return "train" if job.stage_recipe else "adjust"


def summary_metrics(record: Record) -> dict[str, float]:
    """Return the metrics of a run's summary, as fractions."""
    values = metric_values(record).items()
    return {name: float(value) for name, value in values if value is not None}


def data_hashes(record: Record) -> dict[str, str]:
    """Return the data hashes of a run's configuration."""
    return {"train_hash": record.split.train_hash, "test_hash": record.split.test_hash}


def _seconds(record: Record) -> dict[str, float]:
    cost = record.cost
    return {"train_seconds": cost.train_seconds, "test_seconds": cost.test_seconds}


def _artifact(record: Record, path: Path) -> Any:
    """Return the record's file as an artifact, without copying it."""
    import wandb

    artifact = wandb.Artifact(f"record-{record.key}", type="record")
    for file, name in ((path, RECORD), (confusion_path(path), confusion_path(Path(RECORD)).name)):
        if file.exists():
            artifact.add_file(str(file.absolute()), name, skip_cache=True, policy="immutable")
    return artifact


def _per_class(record: Record, test: EvaluationResult) -> Any:
    """Return a table with one row per class."""
    import wandb

    split = record.split
    rows = zip(
        *(split.classes, split.train_counts, record.groups, test.hits, test.totals), strict=True
    )
    return wandb.Table(
        columns=["class", "training images", "group", "hits", "test images", "accuracy"],
        data=[
            [name, count, group, hits, total, hits / total if total else None]
            for name, count, group, hits, total in rows
        ],
    )


def _confusion(record: Record, confusion: Sequence[Mapping[int, int]]) -> Any:
    """Return a panel of the confusion matrix, without zeros off its diagonal."""
    import wandb

    names = record.split.classes
    table = wandb.Table(
        columns=["Actual", "Predicted", "nPredictions"],
        data=[
            [names[true], names[predicted], n]
            for true, row in enumerate(confusion)
            for predicted, n in sorted({true: 0, **row}.items())
        ],
    )
    fields = {column: column for column in table.columns}
    return wandb.plot_table(CONFUSION_PANEL, table, fields, {"title": "Confusion matrix"})


@dataclass(frozen=True)
class _ErrorsAsWarnings:
    """Turn any error into a warning.

    The package's errors have no common base class.
    """

    action: str

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        message = f"Weights & Biases, {self.action}: {type(error).__name__}: {error}"
        warnings.warn(message, stacklevel=3)
        return True
