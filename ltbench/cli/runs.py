"""Verbs that train a grid, say what it needs and how far it is."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli.options import (
    Folders,
    GridName,
    Huge,
    Inputs,
    Machine,
    RecordsDir,
    RunDir,
    Selection,
    Tracking,
    Watching,
    make_options,
)
from ltbench.cli.screen import console, errors, print_bad, print_report, print_table, print_text
from ltbench.cli.verbs import Needs, unless
from ltbench.data.errors import listed
from ltbench.training.options import Device

if TYPE_CHECKING:
    from ltbench.config.models import Job
    from ltbench.config.planning import Plan, PlannedRun
    from ltbench.config.registry import MethodRegistry
    from ltbench.launch.runner import Outcome
    from ltbench.runs.run_dir import RunDirectory
    from ltbench.runs.store import Loaded


MOST_CELLS = 5_000
"""Cells of a grid above which a person has to say yes."""

Launcher = Literal["local", "slurm", "ray"]
Exported = Literal["commands", "sbatch"]
SLURM = Needs("--launcher slurm")


def run(
    grid: GridName,
    folders: Folders,
    selection: Selection,
    machine: Machine,
    watching: Watching,
    launcher: Annotated[Launcher, typer.Option(help="What runs the jobs.")] = "local",
    partition: Annotated[str | None, typer.Option(help="Slurm: partition."), SLURM] = None,
    time: Annotated[str | None, typer.Option(help="Slurm: time limit of a turn."), SLURM] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Slurm: machines of each job."), SLURM] = 1,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option(help="Slurm: another word, e.g. account=lab or mem=32G."),
        SLURM,
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray: the cluster's host:port, or auto; else one of this machine alone."),
        Needs("--launcher ray"),
    ] = None,
    yes: Huge = False,
) -> None:
    """Train what a grid is missing, then print its tables; typed again, go on where it stopped."""
    from ltbench.launch.plan import make_plan
    from ltbench.launch.run import run_on_ray

    made, registry = make_plan(selection.request(grid), None if yes else MOST_CELLS)
    run_dir = folders.runs
    if launcher == "slurm":
        from ltbench.launch import slurm
        from ltbench.launch.run import check_data, find_pending_jobs

        where: Device = "cpu" if machine.device == "cpu" else "gpu"
        options = make_options(made, selection, where, machine.devices, watching)
        settings = slurm.Settings(partition, time, nodes, slurm.parse_options(slurm_option or ()))
        work = find_pending_jobs(made, run_dir, folders.records, options, console)
        check_data(work.jobs.values(), options.data_root, console)
        numbers = slurm.submit(work.jobs, run_dir, options, settings)
        print_text(f"{len(numbers)} jobs are with Slurm; `ltbench status` says how far they are.")
        return
    if launcher == "ray":
        options = make_options(made, selection, machine.device, machine.devices, watching)
        outcome = run_on_ray(made, run_dir, folders.records, address, options, console)
    else:
        outcome = _run_here(made, selection, folders, machine, watching)
    exit_if_stopped(outcome)
    _print_tables(made, registry, folders.load(), run_dir)
    print_text(f"\nRecords: {run_dir.records}   logs and weights: {run_dir.root / 'jobs'}")
    exit_on_failure(outcome)


def worker(
    grid: GridName, folders: Folders, selection: Selection, machine: Machine, watching: Watching
) -> None:
    """Train what a grid is missing, one of any number that share its folder; take over the dead's.

    It ends when every job has its record, or cannot have one.
    """
    outcome = _run_here(selection.plan(grid), selection, folders, machine, watching)
    exit_if_stopped(outcome)
    exit_on_failure(outcome)


def _run_here(
    made: "Plan", inputs: Inputs, folders: Folders, machine: Machine, watching: Watching
) -> "Outcome":
    """Train what a plan is missing on this machine."""
    from ltbench.launch.run import run_here

    slots = machine.local_slots()
    where: Device = "gpu" if any(slots[0]) else "cpu"
    options = make_options(made, inputs, where, machine.devices, watching)
    return run_here(made, folders.runs, folders.records, slots, options, console)


def exit_if_stopped(outcome: "Outcome") -> None:
    """Leave the program where a signal left jobs without a record, and name them."""
    if outcome.signal is not None:
        errors.print(
            f"Interrupted, {len(outcome.left)} jobs have no record yet:\n{listed(outcome.left)}\n"
            "The same command goes on from here.",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(128 + outcome.signal)


def exit_on_failure(outcome: "Outcome") -> None:
    """Leave the program where jobs failed."""
    if outcome.failed or outcome.blocked:
        errors.print(
            f"{len(outcome.failed)} jobs failed, {len(outcome.blocked)} could not be started; "
            "the same command tries them again.",
            style="red",
            soft_wrap=True,
        )
        raise typer.Exit(1)


def job(
    folder: Annotated[Path, typer.Argument(help="A job's folder, in which it is written down.")],
    requeue: Annotated[bool, typer.Option("--requeue", help="Slurm may run it again.")] = False,
    leash: Annotated[
        bool,
        typer.Option("--exit-with-parent", help="End when standard input does."),
        unless("--requeue"),
    ] = False,
) -> None:
    """Run one job that `plan --export` or a launcher has written down."""
    from ltbench.launch import slurm
    from ltbench.launch.task import run_task

    runner = sys.stdin.fileno() if leash else None
    raise typer.Exit(slurm.run_and_requeue(folder) if requeue else run_task(folder, runner))


def cancel(grid: GridName, run_dir: RunDir = Folders.run_dir, *, selection: Selection) -> None:
    """Cancel the jobs of a grid that wait or run in Slurm's queue."""
    from ltbench.launch import slurm
    from ltbench.runs.run_dir import RunDirectory

    known = slurm.tickets(selection.plan(grid).jobs, RunDirectory(run_dir)).values()
    numbers = [ticket.number for ticket in known if ticket.words is not None]
    if numbers:
        slurm.cancel(numbers)
    print_text(f"{len(numbers)} jobs cancelled.")


def _print_tables(
    plan: "Plan", registry: "MethodRegistry", loaded: "Loaded", run_dir: "RunDirectory"
) -> None:
    """Print the tables of a plan; one whose settings were overridden is shown, never ranked."""
    from ltbench.analysis.result_set import boards
    from ltbench.report.summary_tables import AD_HOC
    from ltbench.report.table import build
    from ltbench.report.tables import board_tables
    from ltbench.runs.state import failed_jobs

    if any(job.ad_hoc for job in plan.jobs.values()):
        keys = dict.fromkeys(row.key for row in plan.rows if row.key in loaded.records)
        records = [loaded.records[key].record for key in keys]
        tables = build([AD_HOC], [record for record in records if record.job.ad_hoc])
    else:
        found = boards(plan, loaded.records, failed_jobs(plan, run_dir))
        made = (board_tables(b, registry.methods, loaded.records, brief=True) for b in found)
        tables = [table for of_board in made for table in of_board]
    for table in tables:
        print_report(table)


def plan(
    grid: GridName,
    folders: Folders,
    selection: Selection,
    machine: Machine,
    wandb: Annotated[Tracking, Needs("--export")] = "auto",
    exported: Annotated[
        Exported | None,
        typer.Option("--export", help="Print what trains the missing jobs elsewhere."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Time some steps of each kind of job here first."),
        unless("--export"),
    ] = False,
    yes: Huge = False,
) -> None:
    """Say which jobs a grid needs, which are shared, and what they cost."""
    from ltbench.core.hardware import hardware_of
    from ltbench.launch.cost import CostModel, outlook
    from ltbench.launch.plan import make_plan
    from ltbench.runs.state import to_train

    made, _ = make_plan(selection.request(grid), None if yes else MOST_CELLS)
    run_dir = folders.runs
    if exported is not None:
        from ltbench.launch import export_scripts
        from ltbench.launch.cleaning import note_plan

        watching = Watching(wandb)
        options = make_options(made, selection, machine.device, machine.devices, watching)
        note_plan(made, run_dir)
        keys = to_train(made, folders.load(), run_dir)
        write = export_scripts.commands if exported == "commands" else export_scripts.sbatch_script
        for line in write({key: made.jobs[key] for key in keys}, run_dir, options):
            print_text(line)
        return
    slots = machine.local_slots()
    on_gpu = any(slots[0])
    loaded, hardware = folders.load(), hardware_of(on_gpu=on_gpu)
    missing = to_train(made, loaded, run_dir)
    jobs = [made.jobs[key] for key in missing]
    if measure:
        _measure(jobs, hardware, on_gpu=on_gpu, plugins=selection.plugins or ())
    cost = CostModel(loaded, hardware)
    about = outlook(map(cost.estimate, jobs), len(slots), hardware)
    needed = f"{len(missing)} to train, {about}" if missing else "all have their records"
    print_table(("Variant", "Split", "Cells", "Own jobs", "Shares"), _sharing(made))
    print_text(f"{made.grid.title}: {len(made.rows)} cells from {len(made.jobs)} jobs; {needed}.")


def _measure(jobs: "list[Job]", hardware: str, *, on_gpu: bool, plugins: Sequence[Path]) -> None:
    """Time what each kind of job does, and remember it; say what cannot be timed."""
    import torch
    from rich.progress import Progress

    from ltbench.launch.cost import Rates, keep_rates, kind
    from ltbench.training.measure import measure

    device = torch.device("cuda" if on_gpu else "cpu")
    kinds = {kind(job): job for job in jobs}
    with Progress(console=console, transient=True) as bar:
        for job in bar.track(kinds.values(), description="measuring"):
            try:
                train, test = measure(job, device, tuple(map(str, plugins)))
            except (RuntimeError, ValueError) as error:
                print_text(f"{job.label} [{job.stage}] could not be measured: {error}")
            else:
                keep_rates(job, hardware, Rates(train, test))


def _sharing(made: "Plan") -> Iterator[tuple[str, ...]]:
    """Yield variant, split, cells, jobs of its own, and whose other jobs it uses."""
    owner = {key: row.variant.label for row in reversed(made.rows) for key in row.jobs}
    groups: dict[tuple[str, str], list[PlannedRun]] = {}
    for row in made.rows:
        groups.setdefault((row.variant.label, row.split), []).append(row)
    for (label, split), rows in groups.items():
        keys = dict.fromkeys(key for row in rows for key in row.jobs)
        others = dict.fromkeys(owner[key] for key in keys if owner[key] != label)
        starts = dict.fromkeys(
            s for key in keys for s in made.jobs[key].depends_on if s not in keys
        )
        froms = dict.fromkeys(owner.get(start, made.jobs[start].label) for start in starts)
        words = [f"is the run of {name}" for name in others] + [f"needs {name}" for name in froms]
        own = sum(owner[key] == label for key in keys)
        shown = f"{label} (for UA)" if rows[0].needed_for_ua else label
        yield shown, split, str(len(rows)), str(own), ", ".join(words)


def status(
    grid: GridName,
    folders: Folders,
    selection: Selection,
    every: Annotated[bool, typer.Option("--all", help="List finished jobs too.")] = False,
) -> None:
    """Say which jobs are done, running, queued, failed, stale or missing, and why."""
    from ltbench.launch import slurm
    from ltbench.runs.state import job_states, tail

    made = selection.plan(grid)
    run_dir, loaded = folders.runs, folders.load()
    states = job_states(made, loaded, run_dir, slurm.tickets(made.jobs, run_dir))
    rows = [
        (state.status, key, made.jobs[key].title, state.reason)
        for key, state in states.items()
        if every or state.status != "done"
    ]
    if rows:
        print_table(("Status", "Key", "Job", "Reason"), rows)
    for key, state in states.items():
        if state.status == "failed":
            log = run_dir.job(key).log
            print_text(f"{log} ends with:\n{tail(log)}")
    counts = Counter(state.status for state in states.values())
    print_text(", ".join(f"{n} {status}" for status, n in counts.items()))
    print_bad(loaded.bad)


def clean(
    grids: Annotated[
        list[str] | None,
        typer.Option("--grid", "-g", help="Keep only what these grids have now."),
    ] = None,
    run_dir: RunDir = Folders.run_dir,
    records: Annotated[RecordsDir, unless("--grid")] = Folders.records,
    *,
    inputs: Inputs,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it only say what.")] = False,
) -> None:
    """Remove the folders (weights, logs, checkpoints) of jobs that nobody needs.

    Without --grid, keeps the jobs of all grids ever run in --run-dir, even if edited since, of
    configs/grids and of published records. Never removes records, or jobs that run or are queued.
    """
    from ltbench.config.load import available
    from ltbench.launch.cleaning import needed, unneeded

    folders = Folders(run_dir, records)
    runs, known = folders.runs, folders.load().records
    plans = [inputs.plan(name) for name in grids or available("grids")]
    named = {key for made in plans for key in made.jobs}
    kept = named if grids else needed(plans, known, runs)
    found = unneeded(kept, known, runs)
    if found:
        rows = ((each.folder.path.name, megabytes(each.bytes), each.title) for each in found)
        print_table(("Folder", "Size", "Job"), rows)
    word, removed = "Would remove (pass --yes)", found
    if yes:
        word, removed = "Removed", [each for each in found if each.remove()]
    size = megabytes(sum(each.bytes for each in removed))
    print_text(f"{word} {len(removed)} job folders, {size}.")


def megabytes(size: int) -> str:
    """Return bytes in words."""
    return f"{size / 1e6:.1f} MB"
