"""The verb that trains one published row and says whether it comes out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltbench.cli.options import (
    Folders,
    GridNames,
    Inputs,
    Machine,
    RecordsDir,
    RunDir,
    Watching,
    make_options,
)
from ltbench.cli.runs import exit_if_stopped, exit_on_failure
from ltbench.cli.screen import console, print_table, print_text
from ltbench.cli.verbs import Needs, unless
from ltbench.training.options import Device

if TYPE_CHECKING:
    from ltbench.analysis.published_rows import PublishedRow
    from ltbench.analysis.reproduction import Verdict
    from ltbench.config.planning import Plan
    from ltbench.launch.devices import Slot
    from ltbench.runs.store import Stored


REPRODUCTIONS = Path("reproductions")
A_ROW = Needs("ROW")


def reproduce(
    row: Annotated[
        str | None,
        typer.Argument(help="For example imagenet_lt/ride/200; without it all are listed."),
    ] = None,
    grids: GridNames = None,
    run_dir: Annotated[RunDir, A_ROW] = REPRODUCTIONS,
    records: RecordsDir = Folders.records,
    *,
    inputs: Inputs,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Of the grid's seeds."), A_ROW
    ] = None,
    ua: Annotated[
        bool, typer.Option("--ua", help="Train the balanced counterpart, for UA and RA."), A_ROW
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(min=0, help="Points that are always within tolerance."),
        A_ROW,
        unless("--dry-run"),
    ] = 1.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="OnlyRows say what it takes."), A_ROW
    ] = False,
    machine: Annotated[Machine, A_ROW],
) -> None:
    """Train a published row anew, and say whether its figures come out within tolerance.

    A difference is within tolerance up to --tolerance points, and up to twice its standard error
    where the spread over seeds is known. The exit code is 1 where a figure is outside.
    """
    from ltbench.analysis.published_rows import published_row, published_rows
    from ltbench.config.load import available
    from ltbench.launch.run import run_here
    from ltbench.runs.run_dir import RunDirectory
    from ltbench.runs.store import RecordStore

    theirs = RecordStore(records).load().records
    plans = [inputs.plan(name) for name in grids or available("grids")]
    rows = published_rows(plans, theirs)
    if row is None:
        print_table(("Row", "Published", "Grid"), map(_listed, rows.values()))
        return
    found = published_row(row, rows)
    made = found.plan(seeds or (), balanced_counterpart=ua)
    slots = machine.local_slots()
    _announce(found, made, theirs, Folders(run_dir, records), slots)
    if dry_run:
        return
    where: Device = "gpu" if any(slots[0]) else "cpu"
    options = make_options(made, inputs, where, machine.devices, Watching("off"))
    outcome = run_here(made, RunDirectory(run_dir), None, slots, options, console)
    exit_if_stopped(outcome)
    exit_on_failure(outcome)
    _judge(made, theirs, RecordStore(runs=RunDirectory(run_dir).records).load().records, tolerance)


def _listed(row: "PublishedRow") -> tuple[str, str, str]:
    from ltbench.analysis.result_set import DECIMALS
    from ltbench.core.exact import fixed

    figures = [claim for claim in row.claims if claim.metric == "acc"] or row.claims
    said = "; ".join(f"{fixed(c.value, DECIMALS)} ({c.source})" for c in figures)
    return row.name, said, row.grid.grid.name


def _announce(
    row: "PublishedRow",
    made: "Plan",
    published: "dict[str, Stored]",
    folders: Folders,
    slots: "list[Slot]",
) -> None:
    """Print what is published of a row, what trains it, and what that costs."""
    from ltbench.analysis.metrics import METRICS
    from ltbench.analysis.reproduction import claims
    from ltbench.analysis.result_set import DECIMALS, boards
    from ltbench.core.exact import fixed
    from ltbench.core.hardware import hardware_of
    from ltbench.launch.cost import CostModel, outlook
    from ltbench.runs.state import to_train
    from ltbench.runs.store import RecordStore

    (board,) = boards(made, published)
    print_text(f"{row.name}: {row.label} on {board.title}, {board.recipe.title}")
    said = (
        (METRICS[claim.metric].title, fixed(claim.value, DECIMALS), claim.source)
        for claim in claims(board, board.entries[0])
    )
    print_table(("Figure", "Published", "Source"), said)
    run_dir = folders.runs
    missing = to_train(made, RecordStore(runs=run_dir.records).load(), run_dir)
    cost = CostModel(folders.load(), hardware_of(on_gpu=any(slots[0])))
    estimates = [cost.estimate(made.jobs[key]) for key in missing]
    about = outlook(estimates, len(slots), cost.hardware)
    print_text(
        f"{len(made.jobs)} jobs of grid {made.grid.name}, {len(missing)} to train, "
        f"into {folders.run_dir}: {about or 'no time'}."
    )


def _judge(
    made: "Plan", published: "dict[str, Stored]", ours: "dict[str, Stored]", tolerance: float
) -> None:
    """Print each published figure beside ours; leave with 1 where one is outside tolerance."""
    from ltbench.analysis.reproduction import claims, verdicts
    from ltbench.analysis.result_set import boards

    (theirs,), (mine,) = boards(made, published), boards(made, ours)
    judged = verdicts(claims(theirs, theirs.entries[0]), mine.entries[0], tolerance)
    print_table(
        ("Figure", "Published", "Ours", "Difference", "Tolerance", "Verdict", "Source"),
        map(_judged, judged),
    )
    both = [key for key in made.jobs if key in published and key in ours]
    if both:
        same = sum(published[key].record.repeats(ours[key].record) for key in both)
        print_text(f"{same} of {len(both)} published records are repeated bit for bit.")
    outside = sum(verdict.word == "outside" for verdict in judged)
    within = sum(verdict.word == "within" for verdict in judged)
    print_text(f"{within} figures within tolerance, {outside} outside.")
    if outside:
        raise typer.Exit(1)


def _judged(verdict: "Verdict") -> tuple[str, ...]:
    from ltbench.analysis.metrics import METRICS
    from ltbench.analysis.result_set import DECIMALS
    from ltbench.core.exact import fixed

    claim, difference = verdict.claim, verdict.difference
    metric, word = METRICS[claim.metric], str(verdict.word)
    if word == "not run" and metric.compute is None:
        word = "needs --ua"
    return (
        metric.title,
        fixed(claim.value, DECIMALS),
        "" if verdict.ours.mean is None else fixed(verdict.ours.mean, DECIMALS),
        "" if difference is None else fixed(difference, DECIMALS, "+"),
        "" if difference is None else fixed(verdict.tolerance, DECIMALS),
        word,
        claim.source,
    )
