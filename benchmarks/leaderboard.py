"""Reading records, planning, and writing tables and page, CPU milliseconds.

A thousand records of a grid with 30 seeds; with `--large`, the records of 100 variants on 6
datasets, 2 splits and 3 seeds. Records have 10,000 test images and random predictions. Other work
on the machine adds less to the CPU time than to the wall time.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rounds import interleaved, report

from ltbench.analysis.result_set import boards
from ltbench.analysis.significance import compare_runs
from ltbench.config.job import Job
from ltbench.config.planning import Plan
from ltbench.config.registry import load_registry
from ltbench.core.hardware import cpu_seconds
from ltbench.data.imbalance import exponential_counts
from ltbench.launch.plan import Request, make_plan
from ltbench.report.context import Leaderboard
from ltbench.report.formats import FORMATS, markdown
from ltbench.report.leaderboard import write_formats, write_leaderboard
from ltbench.report.page.document import write_page
from ltbench.report.tables import board_tables
from ltbench.runs.record import Calibration, EvaluationResult, Record
from ltbench.runs.store import Loaded, RecordStore, record_path, write_record

sys.path.append(str(Path(__file__).parents[1]))

from tests.support import made_records

METHODS = load_registry().methods
VARIANTS = (
    *("softmax", "weighted_softmax", "focal", "class_balanced", "equalization", "ldam_drw"),
    *("balanced_softmax", "logit_adjustment", "lade", "class_balanced_sampling", "mixup"),
    *("square_root_sampling", "undersampling", "oversampling", "cosine", "paco", "bbn", "sade"),
    *("ride", "reslt"),
)
GRID = f"""\
title: A thousand records
datasets: [{{name: cifar10, imbalance_ratio: 100}}]
recipes: [cifar_200]
splits: [longtailed, balanced]
seeds: [{", ".join(map(str, range(30)))}]
variants: [{", ".join(VARIANTS)}]
"""


def large_grid(variants: int = 100) -> str:
    """Return a grid of every method, filled up with focal loss."""
    methods = [key for key, method in METHODS.items() if method.predicts]
    rest = range(1, variants + 1 - len(methods))
    rows = [f"{{label: Focal {n}, method: focal, hparams: {{gamma: {n / 16}}}}}" for n in rest]
    return f"""\
title: Records of {variants} variants
datasets:
  - {{name: cifar10, imbalance_ratio: [10, 50, 100]}}
  - {{name: cifar100, imbalance_ratio: [10, 50, 100]}}
recipes: [cifar_200]
splits: [longtailed, balanced]
seeds: [0, 1, 2]
variants: [{", ".join([*methods, *rows])}]
"""


def random_record(job: Job, noise: np.random.Generator) -> Record:
    """Return a record of a job with random predictions."""
    classes = job.dataset.classes
    right = noise.random((classes, 10_000 // classes)) < 0.5
    hits, totals = tuple(right.sum(axis=1).tolist()), (right.shape[1],) * classes
    bins = Calibration(counts=(10000,), confidence=(0.6,), accuracy=(sum(hits) / 1e4,), ece=0.1)
    correct = EvaluationResult.pack(right.ravel())
    test = made_records.evaluation_result(hits, totals, correct=correct, calibration=bins)
    counts = tuple(exponential_counts(classes, 50_000 // classes, job.dataset.imbalance_ratio))
    record: Record = made_records.record(job, hits, counts=counts, totals=totals, test=test)
    return record


def write_records(folder: Path, grid: str, records: int | None) -> Plan:
    """Write the first records of a grid; return its plan.

    Args:
        folder: of the grid and its records.
        grid: as YAML.
        records: number of records, None for all.
    """
    (folder / "grid.yaml").write_text(grid)
    plan = make(folder)
    noise = np.random.default_rng(0)
    for job in list(plan.jobs.values())[:records]:
        write_record(random_record(job, noise), record_path(folder / "records", job))
    return plan


def make(folder: Path) -> Plan:
    """Plan the grid."""
    plan, _ = make_plan(Request(str(folder / "grid.yaml")))
    return plan


def run_verb(verb: str, folder: Path) -> None:
    """Run `ltbench plan` or `status` on the grid, as a process."""
    command = [sys.executable, "-m", "ltbench", verb, "--grid", str(folder / "grid.yaml")]
    options = ["--run-dir", str(folder), "--records", str(folder / "none")]
    subprocess.run([*command, *options], check=True, capture_output=True)


def read(folder: Path) -> Loaded:
    """Read the records."""
    return RecordStore(folder / "records").load()


def to_markdown(plan: Plan, loaded: Loaded) -> str:
    """Compute every table and its markdown."""
    tables = (
        table
        for board in boards(plan, loaded.records)
        for table in board_tables(board, METHODS, loaded.records)
    )
    return "".join(map(markdown, tables))


def to_file(plan: Plan, loaded: Loaded, folder: Path) -> Path:
    """Write the leaderboard as one file."""
    return write_leaderboard(Leaderboard.of([plan], loaded, METHODS), folder / "README.md")


def to_formats(plan: Plan, loaded: Loaded, folder: Path) -> list[Path]:
    """Write the tables in every format."""
    return write_formats(Leaderboard.of([plan], loaded, METHODS), FORMATS, folder)


def to_page(plan: Plan, loaded: Loaded, folder: Path) -> Path:
    """Write the page, without figures."""
    return write_page(Leaderboard.of([plan], loaded, METHODS), folder)


def milliseconds(work: Callable[[], object]) -> float:
    """Return the CPU milliseconds of some work with empty caches.

    Processes that the work starts count, too.
    """
    compare_runs.cache_clear()
    began = cpu_seconds()
    work()
    return 1000 * (cpu_seconds() - began)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="a hundred variants on six datasets")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid, records = (large_grid(), None) if args.large else (GRID, 1000)
        plan = write_records(folder, grid, records)
        loaded = read(folder)
        print(f"{len(loaded.records)} records of {len(plan.jobs)} jobs")
        work: dict[str, Callable[[], object]] = {
            "read the records": partial(read, folder),
            "plan": partial(make, folder),
            "plan, whole command": partial(run_verb, "plan", folder),
            "status, whole command": partial(run_verb, "status", folder),
            "compute tables as markdown": partial(to_markdown, plan, loaded),
            "write the leaderboard": partial(to_file, plan, loaded, folder),
            "write every format": partial(to_formats, plan, loaded, folder),
            "write the page": partial(to_page, plan, loaded, folder),
        }
        variants = {name: partial(milliseconds, each) for name, each in work.items()}
        figures = interleaved(variants, args.rounds)
    name = "leaderboard_large" if args.large else "leaderboard"
    report(name, "CPU milliseconds", figures, "read the records")


if __name__ == "__main__":
    main()
