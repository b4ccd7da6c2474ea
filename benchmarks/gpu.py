"""A smoke test, benchmarks and two published grids on a GPU.

The grids are published while they train. The same command goes on where it was cut off: finished
jobs and benchmarks are not repeated, and jobs save a checkpoint after each epoch. Every variant is
trained for one epoch first, in a folder of its own; the memory of these jobs says how many share a
GPU. Without a GPU, a few of them are all that is trained: a rehearsal, of which nothing is
published. Images are read from LTBENCH_DATA.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from ltbench.launch.devices import visible_gpus
from ltbench.launch.plan import Request, make_plan
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import RecordStore

HERE = Path(__file__).parent
GRIDS = ("cifar10_jpeg_lt", "tinyimagenet32_lt")
BENCHMARKS = {
    "steps_resnet32": "steps.py --bf16 --compile",
    "methods_resnet32": "methods.py",
    "evaluation_resnet32": "evaluation.py --bf16",
    "lightning_resnet32": "lightning.py",
    "batches": "batches.py",
    "together_resnet32": "together.py",
}
"""Commands by the last result that each writes."""

ONE_EPOCH = (
    "recipe.stage1.epochs=1",
    "recipe.stage1.schedule.milestones=[]",
    "recipe.stage1.schedule.warmup=0",
    "recipe.stage1.deferred_from_epoch=1",
    "recipe.stage2.epochs=1",
)
REHEARSED = "variant=Softmax,NCM"
SMOKE_JOBS = 4
"""Jobs that share a GPU before their memory is known."""

PROCESS_MB = 1024
"""Memory of a process beside its tensors: CUDA's context, and what the allocator keeps."""

PUBLISH_SECONDS = 600.0


def main() -> None:
    """Test, measure, train and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", action="append", help=f"repeatable; default: {', '.join(GRIDS)}")
    parser.add_argument("--run-dir", type=Path, default=Path("runs"))
    parser.add_argument("--records", type=Path, default=Path("results/records"))
    words = parser.parse_args()
    grids, gpus = words.grid or GRIDS, visible_gpus()
    trial = words.run_dir / ("smoke" if gpus else "rehearsal")
    if not gpus:
        print(f"No GPU: a rehearsal on the CPU, one epoch of {REHEARSED}.", flush=True)
    for grid in grids:
        done(call(smoke(grid, trial, on_gpu=bool(gpus))))
    if not gpus:
        print(f"The rehearsal is in {trial}. Nothing is published, and nothing is claimed.")
        return
    failed = [name for name, command in BENCHMARKS.items() if not measured(name, command)]
    stored = RecordStore(runs=RunDirectory(trial).records).load().records.values()
    cores = len(os.sched_getaffinity(0)) // len(gpus)
    jobs = jobs_per_gpu((each.record for each in stored), cores)
    for grid in grids:
        done(train(grid, words.run_dir, words.records, "--jobs-per-gpu", str(jobs)))
    done(f"Without a result: {', '.join(failed)}" if failed else 0)


def smoke(grid: str, folder: Path, *, on_gpu: bool) -> list[str]:
    """Return the command of a grid's smoke test: one epoch, first dataset."""
    first = make_plan(Request(grid))[0].rows[0]
    chosen = f"split=longtailed,seed={first.seed},dataset={first.dataset.id}"
    command = ["run", "--grid", grid, "--run-dir", str(folder), "--records", str(folder / "none")]
    command += ["--wandb", "off", "--only", chosen]
    command += ["--jobs-per-gpu", str(SMOKE_JOBS)] if on_gpu else ["--only", REHEARSED]
    return command + [word for setting in ONE_EPOCH for word in ("--set", setting)]


def train(grid: str, run_dir: Path, published: Path, *options: str) -> int:
    """Train and publish a grid; return the exit code."""
    shared = ["--grid", grid, "--run-dir", str(run_dir), "--records", str(published)]

    def publish() -> None:
        call(["results", "publish", *shared])

    code = call(["run", *shared, "--checkpoint-every", "0", *options], publish)
    publish()
    return code


def call(words: Iterable[str], meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run a command of ltbench; return its exit code.

    A signal to stop is passed on, so that jobs can save a checkpoint.
    """
    with subprocess.Popen([sys.executable, "-m", "ltbench", *words]) as process:
        usual = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                try:
                    return process.wait(PUBLISH_SECONDS)
                except subprocess.TimeoutExpired:
                    meanwhile()
                except KeyboardInterrupt:
                    continue  # the terminal sends it to both
        finally:
            signal.signal(signal.SIGTERM, usual)


def done(code: int | str) -> None:
    """Exit with a code or message other than zero."""
    if code:
        sys.exit(code)


def measured(name: str, command: str) -> bool:
    """Run a missing benchmark; return whether there is a result."""
    import torch

    result = HERE / "results" / f"{name}_gpu.json"
    known = json.loads(result.read_text())["hardware"] if result.exists() else None
    if known == torch.cuda.get_device_name():
        return True
    script, *options = command.split()
    process = subprocess.run([sys.executable, str(HERE / script), *options], check=False)
    return process.returncode == 0


def jobs_per_gpu(records: Iterable[Record], cores: int) -> int:
    """Return how many jobs fit a GPU's memory and the cores.

    Args:
        records: of the smoke test; the largest job counts.
        cores: CPU cores of a GPU; a small network keeps one busy with starting kernels.
    """
    fitting = [
        int(record.environment.gpu_memory_mb // (record.cost.peak_memory_mb + PROCESS_MB))
        for record in records
        if record.environment.gpu_memory_mb is not None
    ]
    return max(1, min([cores, *fitting]))


if __name__ == "__main__":
    main()
