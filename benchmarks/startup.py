"""Overhead around training: read-only verbs, and gaps between a run's jobs.

Times are seconds. `ltbench run` trains jobs of one epoch on the digits, one after the other, in a
temporary folder. Measured are the seconds from its start to the first step, from each job's start
to its first step, and from the end of a job to the start of the next. Caches are warm, as in every
run but the first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

from rounds import interleaved, report

from ltbench.runs.run_dir import RunDirectory

LTBENCH = (sys.executable, "-m", "ltbench")
VERBS = (
    "--help",
    "methods list",
    "plan --grid cifar10_jpeg_lt_fast",
    "status --grid cifar10_jpeg_lt_fast",
    "leaderboard --published-only --to {folder}",
)
RUN = (
    "run --grid quickstart --only variant=Softmax,LDAM-DRW,split=longtailed "
    "--set recipe.stage1.epochs=1 --set recipe.stage1.schedule.milestones=[] "
    "--set recipe.stage1.schedule.warmup=0 --set recipe.stage1.deferred_from_epoch=1 "
    "--wandb off --max-parallel 1 --device cpu --run-dir {folder}"
)


def call(arguments: str) -> float:
    """Return the seconds of a command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*LTBENCH, *arguments.format(folder=folder).split()]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def run_overhead() -> dict[str, float]:
    """Return the seconds of a run outside training and tests."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        command = [*LTBENCH, *RUN.format(folder=folder).split()]
        subprocess.run(command, check=True, capture_output=True)
        jobs = sorted(map(times, Path(folder).rglob("records/**/*.json")))
    return {
        "run, to the first step": jobs[0][1] - began,
        "a job, to its first step": statistics.mean(step - locked for locked, step, _ in jobs),
        "between two jobs": statistics.mean(
            later[0] - earlier[2] for earlier, later in pairwise(jobs)
        ),
    }


def times(path: Path) -> tuple[float, float, float]:
    """Return when a record's job started, took its first step, and ended."""
    record = json.loads(path.read_text(encoding="utf-8"))
    (root,) = (parent.parent for parent in path.parents if parent.name == "records")
    job = RunDirectory(root).job(record["key"])
    claimed = datetime.strptime(job.log.read_text()[:23], "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007 - local time
    trained = job.progress.stat().st_mtime
    (lock_file,) = job.lock.folder.iterdir()
    return (
        claimed.timestamp(),
        trained - record["cost"]["train_seconds"],
        lock_file.stat().st_mtime,
    )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    verbs = {each.partition(" -")[0]: partial(call, each) for each in VERBS}
    figures = interleaved(verbs, args.rounds)
    for _ in range(args.rounds):
        for name, seconds in run_overhead().items():
            figures.setdefault(name, []).append(seconds)
    report("startup", "seconds", figures, "--help")


if __name__ == "__main__":
    main()
