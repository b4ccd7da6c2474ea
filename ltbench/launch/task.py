"""Task files: a job and its options, to run on any machine."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from ltbench.config.base import Model
from ltbench.config.errors import Location
from ltbench.config.job import Job
from ltbench.core.files import write_atomically
from ltbench.launch.devices import local_slots, visible_gpus
from ltbench.launch.process import BUSY, Attempt
from ltbench.launch.ranks import RankLayout
from ltbench.runs.run_dir import RunDirectory
from ltbench.training.options import Options


class Task(Model):
    """A job and the options of the run that submitted it."""

    job: Job
    options: Options


def write_task(job: Job, run_dir: RunDirectory, options: Options) -> Path:
    """Write a job's task file; return the job's folder."""
    folder = run_dir.job(job.key)
    task = Task(job=job, options=options)
    write_atomically(folder.path / "job.json", task.model_dump_json().encode())
    return folder.path.absolute()


def read_task(folder: Path) -> Task:
    """Read the task file of a job's folder.

    Raises:
        ConfigError: if the file is invalid, or of another job.
    """
    path = folder / "job.json"
    try:
        task = Task.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise Location(str(path)).error(
            "unreadable", f"is not a valid job: {error.errors()[0]['msg']}"
        ) from error
    if task.job.key != folder.name:
        raise Location(str(path)).error(
            "mismatch", f"is job {task.job.key}, not that of its folder"
        )
    return task


def command(folder: Path) -> list[str]:
    """Return the command that runs the job of a folder."""
    return [sys.executable, "-m", "ltbench", "job", str(folder)]


def run_task(folder: Path, parent: int | None = None) -> int:
    """Run the job of a folder; under `srun`, its rank.

    Args:
        folder: of the job.
        parent: handle that becomes readable when the parent is gone, which ends the job.

    Returns:
        The exit code: 0 if the job has its record.
    """
    folder = folder.absolute()
    task, run_dir = read_task(folder), RunDirectory(folder.parent.parent)
    job, options = task.job, task.options
    if any(not run_dir.job(key).weights.exists() for key in job.depends_on):
        return BUSY  # its initial weights are still to be trained
    layout = RankLayout.of_srun(options.devices)
    if layout is None:
        slot = local_slots(options.device, 1, devices=options.devices)[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(filter(None, slot))
        on_gpu, layout = any(slot), RankLayout.of_one_machine(options.devices)
    else:
        on_gpu = options.device != "cpu" and bool(visible_gpus())
    options = replace(options, device="gpu" if on_gpu else "cpu")
    return Attempt(job, run_dir, options, layout, parent).run()
