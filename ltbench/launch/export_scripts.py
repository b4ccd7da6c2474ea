"""Export of jobs as shell commands or as a script for sbatch."""

import shlex
from collections.abc import Iterator, Mapping

from ltbench.config.job import Job
from ltbench.launch.scheduling import dependency_levels
from ltbench.launch.slurm import SAVE_SECONDS, STEP, job_name
from ltbench.launch.task import command, write_task
from ltbench.runs.run_dir import RunDirectory
from ltbench.training.options import Options


def commands(jobs: Mapping[str, Job], run_dir: RunDirectory, options: Options) -> Iterator[str]:
    """Write task files; yield one command per job, grouped by dependency level.

    Each may be run on any machine and any number of times. It exits with 0 if the job has its
    record, and with 75 if another process runs the job or its initial weights are missing: at once,
    or after a heartbeat of a process on another machine.
    """
    for number, level in enumerate(dependency_levels(jobs)):
        yield f"# step {number + 1}" + (", after all jobs above have ended" if number else "")
        for job in level.values():
            yield shlex.join(command(write_task(job, run_dir, options)))


def sbatch_script(
    jobs: Mapping[str, Job], run_dir: RunDirectory, options: Options
) -> Iterator[str]:
    """Write task files; yield the lines of a script for sbatch."""
    yield "#!/bin/sh"
    yield "# Submits each job to start after the jobs that it depends on. Arguments are passed to"
    yield "# every sbatch: sh script.sh --partition=gpu --time=8:00:00"
    yield "set -eu"
    tasks = options.devices
    flags = ["--nodes=1", f"--ntasks-per-node={tasks}", f"--signal=USR2@{SAVE_SECONDS}"]
    flags += [f"--gpus-per-node={tasks}"] if options.device != "cpu" else []
    flags += ["--requeue", "--open-mode=append", "--kill-on-invalid-dep=yes"]
    yield f'submit() {{ sbatch --parsable {shlex.join(flags)} "$@"; }}'
    for job in jobs.values():
        folder = write_task(job, run_dir, options)
        # srun does not inherit it from sbatch
        cores = '--cpus-per-task="${SLURM_CPUS_PER_TASK:-1}"'
        run = f"{STEP[0]} {cores} {shlex.join([*STEP[1:], *command(folder), '--requeue'])}"
        needed = [f"$job_{key}" for key in job.depends_on if key in jobs]
        wait = f" --dependency=afterok:{':'.join(needed)}" if needed else ""
        output = shlex.quote(f"--output={folder / 'slurm.txt'}")
        yield (
            f'job_{job.key}=$(submit "$@" --job-name={job_name(job)} {output}{wait} '
            f"--wrap {shlex.quote(run)})"
        )
