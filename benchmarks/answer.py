"""Time to answer on one core: two methods, and agreement rows.

From a clone with the images on disk, the ordinary runner trains softmax and balanced softmax of
CIFAR-10-LT (JPEG) with cifar_fast, one job at a time, and reads the images for the first time. The
rows that `ltbench agreement` compares (15 in this grid) have the CPU time of their records; those
without a record are trained, too. Beside them, on the same core, before and after: the images a
second of the field's usual ResNet-32 loop, and the time of 200 epochs of it. Run it on an idle
machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from gpu import ONE_EPOCH
from rounds import report
from work import COUNTS, network, noise_dataset, usual_steps

from ltbench.analysis.agreement import reference_tables
from ltbench.config.planning import Plan, PlannedRun
from ltbench.launch.plan import Request, make_plan
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import RecordStore

GRID = "cifar10_jpeg_lt_fast"
TWO = ("softmax", "balanced_softmax")
EPOCHS = 200
"""Of the usual recipe of ResNet-32."""

LOOP = "usual loop, ResNet-32, fp32"
IMAGES = "images a second"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", default=GRID)
    parser.add_argument("--data-root", help="default: LTBENCH_DATA, else ./data")
    parser.add_argument("--run-dir", type=Path, default=Path("runs"), help="of the rows' jobs")
    parser.add_argument("--records", type=Path, default=Path("results/records"))
    parser.add_argument("--rounds", type=int, default=3, help="of the loop, before and after")
    parser.add_argument("--steps", type=int, default=16, help="of the loop in a round")
    parser.add_argument("--one-epoch", action="store_true", help="a trial; no result is replaced")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # also of the jobs
    torch.set_num_threads(1)
    grid = ["--grid", args.grid]
    grid += [] if args.data_root is None else ["--data-root", args.data_root]
    shorter = ONE_EPOCH if args.one_epoch else ()
    plan = planned(args.grid, shorter)
    two = plan.only(lambda row: row.variant.method in TWO and row.init_method is None)
    rows = of_agreement(plan)

    loop = usual_rates(args.rounds, args.steps)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LTBENCH_CACHE"] = f"{folder}/cache"
        own = Path(folder, "runs")
        began = time.perf_counter()
        train(two, shorter, ["--run-dir", str(own), "--records", f"{folder}/none", *grid])
        minutes = (time.perf_counter() - began) / 60
        trained = records_of(two, RecordStore(runs=RunDirectory(own).records))
        loop += usual_rates(args.rounds, args.steps)
        store = RecordStore(args.records, RunDirectory(args.run_dir).records)
        before = store.load().records.keys()
        shared = ["--run-dir", str(args.run_dir), "--records", str(args.records)]
        train(rows, shorter, [*shared, *grid])
    recorded = records_of(rows, store)

    answers = {
        "softmax and balanced softmax, from the command to its table": [minutes],
        f"the same, CPU time of {described(trained)}": [core_minutes(trained)],
        f"{len(rows.rows)} rows, CPU time of {described(recorded)}, "
        f"{len(rows.jobs.keys() - before)} of them trained now": [core_minutes(recorded)],
        f"{LOOP}, {EPOCHS} epochs": [EPOCHS * sum(COUNTS) / rate / 60 for rate in loop],
    }
    rates = {LOOP: loop} | {
        f"{record.job.label}, {record.job.recipe.network}": [record.cost.images_per_second or 0.0]
        for record in trained
    }
    name = "answer_one_epoch" if args.one_epoch else "answer"
    report(name, "core minutes", answers, f"{LOOP}, {EPOCHS} epochs")
    report(f"{name}_rates", IMAGES, rates, LOOP)


def planned(grid: str, settings: tuple[str, ...] = ()) -> Plan:
    """Return the long-tailed runs of a grid with its first seed."""
    plan, _ = make_plan(Request(grid, settings, ("split=longtailed",)))
    return plan.only(lambda row: row.seed == plan.rows[0].seed)


def of_agreement(plan: Plan) -> Plan:
    """Return the runs of a plan that `ltbench agreement` compares."""

    def compared(run: PlannedRun) -> bool:
        variant = (run.variant.method, run.init_method or "", plan.jobs[run.key].hparams)
        return any(row.names(*variant) for table in reference_tables() for row in table.rows)

    return plan.only(compared)


def train(plan: Plan, settings: Iterable[str], options: Iterable[str]) -> None:
    """Train the missing jobs of a plan with `ltbench run`."""
    labels = ",".join(dict.fromkeys(row.variant.label for row in plan.rows))
    chosen = f"variant={labels},split=longtailed,seed={plan.rows[0].seed}"
    command = ["run", "--only", chosen, "--device", "cpu"]
    command += ["--wandb", "off", "--max-parallel", "1", *options]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run([sys.executable, "-m", "ltbench", *command], check=True)


def records_of(plan: Plan, store: RecordStore) -> list[Record]:
    """Return the records of all jobs of a plan, shared ones once."""
    found = store.load().records
    return [found[key].record for key in plan.jobs]


def core_minutes(records: Iterable[Record]) -> float:
    """Return the CPU minutes of jobs."""
    return sum(record.cost.cpu_seconds for record in records) / 60


def described(records: list[Record]) -> str:
    """Return the number of jobs and their hardware."""
    hardware = {record.environment.hardware for record in records}
    bf16 = {each for record in records if (each := record.environment.bf16)}
    return ", ".join((f"{len(records)} jobs", *sorted(hardware), *(f"bf16: {b}" for b in bf16)))


def usual_rates(rounds: int, steps: int) -> list[float]:
    """Return images a second of the usual loop, one per round."""
    images, model, device = noise_dataset(128 * steps), network(), torch.device("cpu")
    return [usual_steps(images, model, device, steps) for _ in range(rounds + 1)][1:]


if __name__ == "__main__":
    main()
