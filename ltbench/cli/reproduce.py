"""The verb that reproduces one published row."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltbench.cli.options import (
    Folders,
    GridNames,
    Inputs,
    JobOptions,
    Machine,
    RecordsDir,
    RunDir,
    make_options,
)
from ltbench.cli.runs import exit_if_stopped, exit_on_failure
from ltbench.cli.screen import console, print_table, print_text
from ltbench.cli.verbs import Needs, unless
from ltbench.training.options import Device

if TYPE_CHECKING:
    from ltbench.analysis.reproduction import PublishedRow, Reproduction
    from ltbench.config.planning import Plan
    from ltbench.launch.devices import Slot
    from ltbench.runs.store import Stored


REPRODUCTIONS = Path("reproductions")
A_ROW = Needs("ROW")


def reproduce(
    row: Annotated[
        str | None,
        typer.Argument(help="Row, e.g. imagenet_lt/ride/200; without it, all rows are listed."),
    ] = None,
    grids: GridNames = None,
    run_dir: Annotated[RunDir, A_ROW] = REPRODUCTIONS,
    records: RecordsDir = Folders.records,
    *,
    inputs: Inputs,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Train only this seed; repeatable."), A_ROW
    ] = None,
    ua: Annotated[
        bool,
        typer.Option("--ua", help="Train the balanced counterpart, for UA and RA."),
        A_ROW,
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(min=0, help="Percentage points that are always within tolerance."),
        A_ROW,
        unless("--dry-run"),
    ] = 1.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show jobs and cost."), A_ROW
    ] = False,
    machine: Annotated[Machine, A_ROW],
) -> None:
    """Train a published row again and compare it with the published numbers.

    A difference is within tolerance up to --tolerance points, and up to twice its standard error
    if the spread over seeds is known. The exit code is 1 if a number is outside. Without --grid,
    the rows are those of configs/grids.
    """
    from ltbench.analysis.reproduction import published_row, published_rows
    from ltbench.config.files import available
    from ltbench.launch.run import run_here
    from ltbench.runs.run_dir import RunDirectory
    from ltbench.runs.store import RecordStore

    published = RecordStore(records).load().records
    plans = [inputs.plan(name) for name in grids or available("grids")]
    rows = published_rows(plans, published)
    if row is None:
        print_table(("Row", "Published", "Grid"), map(_listed, rows.values()))
        return
    chosen = published_row(row, rows)
    plan = chosen.plan(seeds or (), balanced=ua)
    slots = machine.local_slots()
    _announce(chosen, plan, published, Folders(run_dir, records), slots, inputs.data_root)
    if dry_run:
        return
    device: Device = "gpu" if any(slots[0]) else "cpu"
    options = make_options(plan, inputs, device, machine.devices, JobOptions("off"))
    directory = RunDirectory(run_dir)
    outcome = run_here(plan, directory, None, slots, options, console)
    exit_if_stopped(outcome)
    exit_on_failure(outcome)
    _judge(plan, published, RecordStore(runs=directory.records).load().records, tolerance)


def _listed(row: "PublishedRow") -> tuple[str, str, str]:
    from ltbench.analysis.result_set import DECIMALS
    from ltbench.core.exact import fixed

    numbers = [number for number in row.numbers if number.metric == "acc"] or row.numbers
    text = "; ".join(f"{fixed(each.value, DECIMALS)} ({each.source})" for each in numbers)
    return row.name, text, row.grid.grid.name


def _announce(
    row: "PublishedRow",
    plan: "Plan",
    published: "dict[str, Stored]",
    folders: Folders,
    slots: "list[Slot]",
    data_root: Path | None,
) -> None:
    """Print the published numbers of a row, its jobs and their cost."""
    from ltbench.analysis.metrics import METRICS
    from ltbench.analysis.published import comparable
    from ltbench.analysis.reproduction import row_numbers
    from ltbench.analysis.result_set import DECIMALS, boards
    from ltbench.core.exact import fixed
    from ltbench.core.hardware import hardware_of
    from ltbench.launch.cost import CostModel, describe_cost
    from ltbench.runs.state import jobs_to_train
    from ltbench.runs.store import RecordStore

    (board,) = boards(plan, published)
    print_text(f"{row.name}: {row.label} on {board.title}, {board.recipe.title}")
    numbers = (
        (METRICS[number.metric].title, fixed(number.value, DECIMALS), number.source)
        for number in row_numbers(board.entries[0], comparable(board))
    )
    print_table(("Metric", "Published", "Source"), numbers)
    run_dir = folders.runs
    missing = jobs_to_train(plan, RecordStore(runs=run_dir.records).load(), run_dir)
    cost = CostModel(folders.load(), hardware_of(on_gpu=any(slots[0])), data_root)
    estimates = [cost.estimate(plan.jobs[key]) for key in missing]
    estimate = describe_cost(estimates, len(slots), cost.hardware)
    print_text(
        f"{len(plan.jobs)} jobs of grid {plan.grid.name}, {len(missing)} to train "
        f"in {folders.run_dir}{estimate and f': {estimate}'}."
    )


def _judge(
    plan: "Plan", published: "dict[str, Stored]", ours: "dict[str, Stored]", tolerance: float
) -> None:
    """Compare published numbers with ours; exit with 1 if any is outside."""
    from ltbench.analysis.published import comparable
    from ltbench.analysis.reproduction import reproductions, row_numbers
    from ltbench.analysis.result_set import boards

    (theirs,), (mine,) = boards(plan, published), boards(plan, ours)
    numbers = row_numbers(theirs.entries[0], comparable(theirs))
    judged = reproductions(numbers, mine.entries[0], tolerance)
    print_table(
        ("Metric", "Published", "Ours", "Difference", "Tolerance", "Outcome", "Source"),
        map(_judged, judged),
    )
    both = [key for key in plan.jobs if key in published and key in ours]
    if both:
        same = sum(published[key].record.repeats(ours[key].record) for key in both)
        print_text(f"{same} of {len(both)} published records are reproduced bit for bit.")
    outside = sum(result.outcome == "outside" for result in judged)
    within = sum(result.outcome == "within" for result in judged)
    print_text(f"{within} numbers within tolerance, {outside} outside.")
    if outside:
        raise typer.Exit(1)


def _judged(result: "Reproduction") -> tuple[str, ...]:
    from ltbench.analysis.metrics import METRICS
    from ltbench.analysis.result_set import DECIMALS
    from ltbench.core.exact import fixed

    number, difference = result.published, result.difference
    metric, outcome = METRICS[number.metric], str(result.outcome)
    if outcome == "not run" and metric.compute is None:
        outcome = "needs --ua"
    return (
        metric.title,
        fixed(number.value, DECIMALS),
        "" if result.ours.mean is None else fixed(result.ours.mean, DECIMALS),
        "" if difference is None else fixed(difference, DECIMALS, "+"),
        "" if difference is None else fixed(result.tolerance, DECIMALS),
        outcome,
        number.source,
    )
