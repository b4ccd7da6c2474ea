"""Commands and scripts that train jobs on whatever runs commands."""

import shlex
from collections.abc import Iterator, Mapping

from ltbench.config.models import Job
from ltbench.launch.scheduling import levels
from ltbench.launch.slurm import SAVE_SECONDS, STEP, job_name
from ltbench.launch.task import command, write_task
from ltbench.runs.run_dir import RunDirectory
from ltbench.training.options import Options


def commands(jobs: Mapping[str, Job], run_dir: RunDirectory, options: Options) -> Iterator[str]:
    """Write jobs down and yield a command a job, with a comment where later ones must wait.

    Each may be run anywhere and any number of times: it ends with 0 where the job has its record,
    and with 75 at once where another process runs it or what it starts from is not there.
    """
    for number, level in enumerate(levels(jobs)):
        yield f"# step {number + 1}" + (", when all before have ended" if number else "")
        for job in level.values():
            yield shlex.join(command(write_task(job, run_dir, options)))


def sbatch_script(
    jobs: Mapping[str, Job], run_dir: RunDirectory, options: Options
) -> Iterator[str]:
    """Write jobs down and yield the lines of a script that submits them to Slurm."""
    yield "#!/bin/sh"
    yield "# Submits jobs, each to start when what it starts from has its record. The words"
    yield "# of this script go to every sbatch: sh script.sh --partition=gpu --time=8:00:00"
    yield "set -eu"
    tasks = options.devices
    flags = ["--nodes=1", f"--ntasks-per-node={tasks}", f"--signal=USR2@{SAVE_SECONDS}"]
    flags += [f"--gpus-per-node={tasks}"] if options.device != "cpu" else []
    flags += ["--requeue", "--open-mode=append", "--kill-on-invalid-dep=yes"]
    yield f'submit() {{ sbatch --parsable {shlex.join(flags)} "$@"; }}'
    for job in jobs.values():
        folder = write_task(job, run_dir, options)
        run = shlex.join([*STEP, *command(folder), "--requeue"])
        starts = [f"$job_{start}" for start in job.depends_on if start in jobs]
        wait = f" --dependency=afterok:{':'.join(starts)}" if starts else ""
        output = shlex.quote(f"--output={folder / 'slurm.txt'}")
        yield (
            f'job_{job.key}=$(submit "$@" --job-name={job_name(job)} {output}{wait} '
            f"--wrap {shlex.quote(run)})"
        )
