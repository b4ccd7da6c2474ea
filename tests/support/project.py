"""A working directory with configurations, and the command line run in it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from PIL import Image

from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import RecordStore
from tests.support import processes

STAGES = """\
stage1:
  epochs: {first}
  optimizer: {{lr: 0.1, momentum: 0.9}}
  schedule: {schedule}
stage2:
  epochs: {second}
  optimizer: {{lr: 0.1}}
  schedule: {{kind: constant}}
"""

GRID = """\
title: Digits in two epochs
datasets: [digits]
recipes: [tiny]
splits: [longtailed, balanced]
variants:
  - {label: Softmax, method: softmax}
  - {label: Balanced Softmax, method: balanced_softmax}
  - {label: Post-hoc, method: posthoc_logit_adjustment, init_from: Softmax}
  - {label: cRT, method: crt, init_from: Softmax}
  - {label: LWS, method: lws}
  - {label: NCM, method: ncm}
  - {label: tau-norm, method: tau_norm, init_from: softmax}
"""

NO_TORCH = """\
import sys
for name in ("torch", "torchvision", "timm", "safetensors", "pytorch_lightning", "wandb"):
    sys.modules[name] = None
from ltbench.cli import main
main()
"""
"""Runs a command while importing torch, or its dependents, is an error."""

FOLDER = """\
title: Own images
source: image_folder
classes: 3
image_size: 8
channels: 3
normalization: {mean: [0.5, 0.5, 0.5], std: [0.3, 0.3, 0.3]}
imbalance_type: natural
"""

PATIENCE = 300.0
"""Timeout in seconds on a busy machine."""

needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="a job of two devices needs two cores"
)

COUNTS = re.compile(r"\d+ [a-z]+(, \d+ [a-z]+)*")


class Project:
    """A folder with configs/recipes/tiny.yaml and grids; its run folder is `runs`."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder / "runs"
        self.run_dir = RunDirectory(self.out)
        self.stores = ("--run-dir", str(self.out), "--records", str(folder / "published"))
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LTBENCH_", "WANDB_", "COLUMNS"))
        } | {"OMP_NUM_THREADS": "1", "LTBENCH_CACHE": str(folder / "cache")}
        if not (folder / "configs").exists():
            self.recipe("tiny", 2, 1, "{kind: step, milestones: [1]}")
            self.write("tiny.yaml", GRID)

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return str(file)

    def recipe(self, name, first, second, schedule="{kind: constant}", **fields):
        """Write a recipe of some epochs in each stage."""
        lines = {
            "title": name,
            "network": "resnet8",
            "batch_size": 64,
            "augment": "crop",
            "crop_padding": 1,
            **fields,
        }
        stages = STAGES.format(first=first, second=second, schedule=schedule)
        self.write(f"configs/recipes/{name}.yaml", lines_of(lines) + stages)

    def grid(self, *variants, name="grid", **fields):
        """Write a grid of the tiny recipe; return its path."""
        lines = {"title": name, "datasets": "[digits]", "recipes": "[tiny]"} | fields
        return self.write(
            f"{name}.yaml", lines_of(lines) + "variants:\n" + "".join(f"- {v}\n" for v in variants)
        )

    def call(self, *args, code=0, torch=True):
        """Run a command; check exit code and absence of tracebacks."""
        interpreter = ("-m", "ltbench") if torch else ("-c", NO_TORCH)
        done = processes.run(
            [sys.executable, *interpreter, *args],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        output = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == code, output
        assert "Traceback" not in done.stderr, output
        return done

    def verb(self, verb, grid="tiny.yaml", *args, **options):
        """Run a verb on a grid and this project's folders."""
        return self.call(*verb.split(), "--grid", grid, *self.stores, *args, **options)

    def run(self, grid="tiny.yaml", *args, **options):
        return self.verb("run", grid, "--wandb", "off", "--device", "cpu", *args, **options)

    def start(self, grid="tiny.yaml", *args, log="run.log", verb="run"):
        """Start a run or worker; its output goes to a file."""
        command = (verb, "--grid", grid, *self.stores, "--wandb", "off", "--device", "cpu", *args)
        with (self.folder / log).open("w") as file:
            return processes.start(
                [sys.executable, "-m", "ltbench", *command],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def status(self, grid="tiny.yaml", *args, **options):
        """Return the counts by state of `status`, and its output."""
        text = self.verb("status", grid, "--all", *args, **options).stdout
        line = next(line for line in text.splitlines() if COUNTS.fullmatch(line))
        return {part.split()[1]: int(part.split()[0]) for part in line.split(", ")}, text

    def records(self):
        """Return the valid records of the runs by key."""
        loaded = RecordStore(runs=self.run_dir.records).load()
        assert loaded.bad == []
        return {key: stored.record for key, stored in loaded.records.items()}

    def by_name(self):
        """Return the records of last stages by label and split."""
        records = self.records()
        parents = {(r.job.label, key) for r in records.values() for key in r.job.depends_on}
        last = [r for key, r in records.items() if (r.job.label, key) not in parents]
        by_name = {(record.job.label, record.job.split): record for record in last}
        assert len(by_name) == len(last)
        return by_name

    def trainers(self):
        """Return the ids of the processes that hold a job lock."""
        locks = self.out.glob("jobs/*/lock/*")
        return sorted({pid for lock in locks for pid in holders(lock)})

    def processes(self):
        """Return the ids of all processes that run in this project."""
        return processes_with("cwd", self.folder)


def lines_of(fields):
    """Return the fields of a YAML file, one per line."""
    return "".join(f"{field}: {value}\n" for field, value in fields.items())


def images(project, counts=(40, 20, 10)):
    """Write an image folder, its dataset and a grid; return the grid."""
    project.write("configs/datasets/own.yaml", FOLDER)
    rng = np.random.default_rng(0)
    for part, number in (("train", counts), ("test", (4, 4, 4))):
        for label, count in enumerate(number):
            folder = project.folder / "data" / "own" / part / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return project.grid("softmax", datasets="[own]", splits="[longtailed, balanced]")


def holders(path):
    """Return the ids of the processes that have a file open."""
    return processes_with("fd/*", path)


def processes_with(links, path):
    found = []
    for link in Path("/proc").glob(f"[0-9]*/{links}"):
        try:
            if link.readlink() == path.resolve():
                found.append(int(link.parts[2]))
        except OSError:
            continue  # a process that ended, or another user's
    return found


def is_alive(pid):
    """Return whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children(pid):
    """Return the ids of a process's children."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def parent(pid):
    """Return the id of a process's parent, 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


def wait_until(condition, seconds=PATIENCE, every=0.02, state=str):
    """Return a condition's value once it is true; fail with `state()` otherwise."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s\n{state()}"
        time.sleep(every)
    return value


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
