"""Verbs that plan, train, monitor and clean up runs."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli.options import (
    Confirmed,
    Folders,
    GridName,
    Inputs,
    JobOptions,
    Machine,
    RecordsDir,
    RunDir,
    Selection,
    Tracking,
    existing,
    make_options,
)
from ltbench.cli.screen import (
    console,
    errors,
    print_bad,
    print_report,
    print_table,
    print_text,
    print_warning,
)
from ltbench.cli.verbs import Needs, unless
from ltbench.data.errors import listed
from ltbench.training.options import Device, Options

if TYPE_CHECKING:
    from ltbench.config.job import Job
    from ltbench.config.planning import Plan, PlannedRun
    from ltbench.config.registry import MethodRegistry
    from ltbench.launch.hardware import Hardware
    from ltbench.launch.runner import RunOutcome
    from ltbench.runs.run_dir import RunDirectory
    from ltbench.runs.store import Loaded


MAX_RUNS = 5_000
"""Most runs of a grid without confirmation."""

Launcher = Literal["local", "slurm", "ray"]
ExportFormat = Literal["commands", "sbatch"]
SLURM = Needs("--launcher slurm")


def run(
    grid: GridName,
    folders: Folders,
    selection: Selection,
    machine: Machine,
    of_jobs: JobOptions,
    launcher: Annotated[Launcher, typer.Option(help="Where jobs run.")] = "local",
    partition: Annotated[str | None, typer.Option(help="Slurm: partition."), SLURM] = None,
    time: Annotated[
        str | None, typer.Option(help="Slurm: time limit; longer jobs are requeued."), SLURM
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Slurm: number of nodes per job."), SLURM] = 1,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option(
            help="Slurm: further option of sbatch, e.g. account=lab or mem=32G; repeatable."
        ),
        SLURM,
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray: host:port of the cluster, or auto; default: start one on this machine."
        ),
        Needs("--launcher ray"),
    ] = None,
    yes: Confirmed = False,
) -> None:
    """Train the missing jobs of a grid, then print its tables.

    If interrupted, the same command resumes.
    """
    from ltbench.launch.plan import make_plan
    from ltbench.launch.run import run_on_ray

    plan, registry = make_plan(selection.request(grid), None if yes else MAX_RUNS)
    run_dir = folders.runs
    if launcher == "slurm":
        from ltbench.launch import slurm
        from ltbench.launch.run import check_data, find_pending_jobs

        device: Device = "cpu" if machine.device == "cpu" else "gpu"
        options = make_options(plan, selection, device, machine.devices, of_jobs)
        settings = slurm.Settings(partition, time, nodes, slurm.parse_options(slurm_option or ()))
        pending = find_pending_jobs(plan, run_dir, folders.records, options, console)
        check_data(pending.jobs.values(), options.data_root, console)
        ids = slurm.submit(pending.jobs, run_dir, options, settings)
        if ids:
            print_text(
                f"{len(ids)} jobs are queued in Slurm; `ltbench status` shows their progress."
            )
        return
    if launcher == "ray":
        options = make_options(plan, selection, machine.device, machine.devices, of_jobs)
        outcome = run_on_ray(plan, run_dir, folders.records, address, options, console)
    else:
        outcome = _run_here(plan, selection, folders, machine, of_jobs)
    exit_if_stopped(outcome)
    _print_tables(plan, registry, folders.load(), run_dir)
    print_text(f"\nRecords: {run_dir.records}   logs and weights: {run_dir.jobs}")
    exit_on_failure(outcome)


def worker(
    grid: GridName, folders: Folders, selection: Selection, machine: Machine, of_jobs: JobOptions
) -> None:
    """Run one worker on the missing jobs of a grid.

    Start any number on machines that share --run-dir; jobs of crashed workers are picked up. Exits
    when all jobs of the grid are done or have failed.
    """
    outcome = _run_here(selection.plan(grid), selection, folders, machine, of_jobs)
    exit_if_stopped(outcome)
    exit_on_failure(outcome)


def _run_here(
    plan: "Plan", inputs: Inputs, folders: Folders, machine: Machine, of_jobs: JobOptions
) -> "RunOutcome":
    """Train the missing jobs of a plan on this machine."""
    from ltbench.launch.run import run_here

    slots = machine.local_slots()
    device: Device = "gpu" if any(slots[0]) else "cpu"
    options = make_options(plan, inputs, device, machine.devices, of_jobs)
    return run_here(plan, folders.runs, folders.records, slots, options, console)


def exit_if_stopped(outcome: "RunOutcome") -> None:
    """Exit if a signal left jobs without a record, and list them."""
    if outcome.signal is not None:
        print_warning(
            f"Interrupted, {len(outcome.unfinished)} jobs have no record yet:\n"
            f"{listed(outcome.unfinished)}\nThe same command resumes."
        )
        raise typer.Exit(128 + outcome.signal)


def exit_on_failure(outcome: "RunOutcome") -> None:
    """Exit with 1 if jobs failed."""
    if outcome.failed or outcome.blocked:
        errors.print(
            f"{len(outcome.failed)} jobs failed, {len(outcome.blocked)} could not be started; "
            "the same command retries them.",
            style="red",
            soft_wrap=True,
        )
        raise typer.Exit(1)


def job(
    folder: Annotated[Path, typer.Argument(help="Folder of the job.")],
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Requeue the Slurm job if unfinished.")
    ] = False,
    exit_with_parent: Annotated[
        bool,
        typer.Option("--exit-with-parent", help="Exit when standard input closes."),
        unless("--requeue"),
    ] = False,
) -> None:
    """Run one job that `plan --export` or a launcher has prepared."""
    from ltbench.launch import slurm
    from ltbench.launch.task import run_task

    parent = sys.stdin.fileno() if exit_with_parent else None
    raise typer.Exit(slurm.run_and_requeue(folder) if requeue else run_task(folder, parent))


def cancel(grid: GridName, run_dir: RunDir = Folders.run_dir, *, selection: Selection) -> None:
    """Cancel the queued and running Slurm jobs of a grid."""
    from ltbench.launch import slurm

    runs = existing(run_dir)
    statuses = slurm.query_statuses(selection.plan(grid).jobs, runs).values()
    ids = [status.job_id for status in statuses if status.state is not None]
    if ids:
        slurm.cancel(ids)
    print_text(f"{len(ids)} jobs canceled.")


def _print_tables(
    plan: "Plan", registry: "MethodRegistry", loaded: "Loaded", run_dir: "RunDirectory"
) -> None:
    """Print headlines and tables of a plan, ad hoc results unranked."""
    from ltbench.analysis.result_set import boards
    from ltbench.report.page.headlines import as_text, headlines
    from ltbench.report.page.overview import BoardSummary
    from ltbench.report.summary_tables import AD_HOC_TABLE
    from ltbench.report.table import build
    from ltbench.report.tables import board_tables
    from ltbench.runs.state import failed_jobs

    if any(job.ad_hoc for job in plan.jobs.values()):
        keys = dict.fromkeys(row.key for row in plan.rows if row.key in loaded.records)
        records = [loaded.records[key].record for key in keys]
        for table in build([AD_HOC_TABLE], [record for record in records if record.job.ad_hoc]):
            print_report(table)
        return
    for board in boards(plan, loaded.records, failed_jobs(plan, run_dir)):
        summary = BoardSummary(board, registry.methods, loaded.records)
        print_text(f"\n{board.title}: {' '.join(map(as_text, headlines(summary)))}")
        for table in board_tables(board, registry.methods, loaded.records, brief=True):
            print_report(table)


def plan(
    grid: GridName,
    folders: Folders,
    selection: Selection,
    machine: Annotated[Machine, unless("--hardware")],
    wandb: Annotated[Tracking, Needs("--export")] = "auto",
    export: Annotated[
        ExportFormat | None,
        typer.Option(
            "--export", help="Print commands, or an sbatch script, that train the missing jobs."
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Time some steps of each kind of job on this machine first."
        ),
        unless("--export"),
        unless("--hardware"),
    ] = False,
    hardware: Annotated[
        str | None,
        typer.Option(help="Estimate the cost on hardware that is not here, e.g. h100."),
        unless("--export"),
    ] = None,
    yes: Confirmed = False,
) -> None:
    """Show the jobs of a grid, which are shared, and their cost."""
    from ltbench.config.hparams import unused_rules
    from ltbench.launch.hardware import find_hardware
    from ltbench.launch.plan import make_plan
    from ltbench.runs.state import jobs_to_train

    elsewhere = None if hardware is None else find_hardware(hardware)
    planned, registry = make_plan(selection.request(grid), None if yes else MAX_RUNS)
    loaded = folders.load()
    missing = jobs_to_train(planned, loaded, folders.runs)
    if export is not None:
        of_jobs = JobOptions(wandb)
        options = make_options(planned, selection, machine.device, machine.devices, of_jobs)
        _print_export(export, planned, missing, folders.runs, options)
        return
    jobs = [planned.jobs[key] for key in missing]
    if elsewhere is None:
        cost = _cost_here(jobs, loaded, machine, selection, measure=measure)
    else:
        cost = _cost_elsewhere(jobs, loaded, elsewhere, selection)
    todo = f"{len(missing)} to train, {cost}" if missing else "all have records"
    print_table(("Variant", "Split", "Runs", "Own jobs", "Shared jobs"), _sharing(planned))
    counts = f"{len(planned.rows)} runs, {len(planned.jobs)} jobs"
    print_text(f"{planned.grid.title}: {counts}; {todo}.")
    for note in _notes(planned, jobs, selection.data_root):
        print_text(note)
    for problem in unused_rules(registry):
        print_text(problem.described())


def _cost_here(
    jobs: "list[Job]", loaded: "Loaded", machine: Machine, inputs: Inputs, *, measure: bool
) -> str:
    """Describe the estimated cost of jobs here, measured first if asked."""
    from ltbench.core.hardware import hardware_of
    from ltbench.launch.cost import CostModel, describe_cost

    slots = machine.local_slots()
    on_gpu = any(slots[0])
    here = hardware_of(on_gpu=on_gpu)
    if measure:
        _measure(jobs, here, on_gpu=on_gpu, plugins=tuple(map(str, inputs.plugins or ())))
    cost = CostModel(loaded, here, inputs.data_root, machine.devices)
    return describe_cost(map(cost.estimate, jobs), len(slots), here)


def _cost_elsewhere(
    jobs: "list[Job]", loaded: "Loaded", hardware: "Hardware", inputs: Inputs
) -> str:
    """Describe the estimated cost of jobs on hardware that is not here."""
    from ltbench.launch.hardware import describe_cost_on

    counted = _counted(jobs, tuple(map(str, inputs.plugins or ())))
    return describe_cost_on(hardware, jobs, loaded, counted, inputs.data_root)


def _notes(plan: "Plan", jobs: "list[Job]", data_root: Path | None) -> Iterator[str]:
    """Yield what a plan cannot report, and the weights that jobs lack."""
    from ltbench.training.pretrained import missing_weights

    if "balanced" in plan.grid.splits:
        for spec in dict.fromkeys(row.dataset for row in plan.rows):
            if not spec.has_balanced_counterpart:
                yield f"{spec.id} has no balanced counterpart, and so no UA and RA."
    for recipe in dict.fromkeys(job.recipe for job in jobs):
        if note := missing_weights(recipe, data_root):
            yield f"{note}."


def _print_export(
    form: ExportFormat,
    plan: "Plan",
    keys: Sequence[str],
    run_dir: "RunDirectory",
    options: Options,
) -> None:
    """Print commands or a script for sbatch that train jobs."""
    from ltbench.launch import export_scripts
    from ltbench.launch.cleaning import save_plan

    save_plan(plan, run_dir)
    write = export_scripts.commands if form == "commands" else export_scripts.sbatch_script
    for line in write({key: plan.jobs[key] for key in keys}, run_dir, options):
        print_text(line)


def _measure(jobs: "list[Job]", hardware: str, *, on_gpu: bool, plugins: Sequence[str]) -> None:
    """Measure and save the throughput of each kind of job."""
    import torch
    from rich.progress import Progress

    from ltbench.launch.cost import MeasuredThroughput, cost_key, save_throughput
    from ltbench.training.measure import measure

    device = torch.device("cuda" if on_gpu else "cpu")
    kinds = {cost_key(job): job for job in jobs}
    with Progress(console=console, transient=True) as bar:
        for job in bar.track(kinds.values(), description="measuring"):
            try:
                train, test = measure(job, device, plugins)
            except (RuntimeError, ValueError) as error:
                print_text(f"{job.label} [{job.stage}] could not be measured: {error}")
            else:
                save_throughput(job, hardware, MeasuredThroughput(train, test))


def _counted(
    jobs: "list[Job]", plugins: Sequence[str]
) -> "Callable[[Job], tuple[float | None, float] | None]":
    """Return a function that returns a job's operations per image."""
    from rich.progress import Progress

    from ltbench.launch.cost import cost_key
    from ltbench.training.measure import count_flops

    kinds = {cost_key(job): job for job in jobs}
    counts = {}
    with Progress(console=console, transient=True) as bar:
        for key, job in bar.track(kinds.items(), description="counting operations"):
            try:
                counts[key] = count_flops(job, plugins)
            except (RuntimeError, ValueError) as error:
                print_text(f"{job.label} [{job.stage}] could not be counted: {error}")
    return lambda job: counts.get(cost_key(job))


def _sharing(plan: "Plan") -> Iterator[tuple[str, ...]]:
    """Yield variant, split, runs, own jobs, and jobs shared with other variants."""
    owner = {key: run.variant.label for run in reversed(plan.rows) for key in run.jobs}
    groups: dict[tuple[str, str], list[PlannedRun]] = {}
    for run in plan.rows:
        groups.setdefault((run.variant.label, run.split), []).append(run)
    for (label, split), runs in groups.items():
        keys = dict.fromkeys(key for run in runs for key in run.jobs)
        others = dict.fromkeys(owner[key] for key in keys if owner[key] != label)
        needed = dict.fromkeys(
            dependency
            for key in keys
            for dependency in plan.jobs[key].depends_on
            if dependency not in keys
        )
        sources = dict.fromkeys(owner.get(key, plan.jobs[key].label) for key in needed)
        shared = [f"same as {name}" for name in others] + [f"needs {name}" for name in sources]
        own = sum(owner[key] == label for key in keys)
        title = f"{label} (for UA)" if runs[0].needed_for_ua else label
        yield title, split, str(len(runs)), str(own), "; ".join(shared)


def status(
    grid: GridName,
    folders: Folders,
    selection: Selection,
    show_all: Annotated[bool, typer.Option("--all", help="List finished jobs too.")] = False,
) -> None:
    """Show the jobs of a grid that are not done, and why."""
    from ltbench.launch import slurm
    from ltbench.runs.state import job_states, tail

    loaded, run_dir, plan = folders.read(), folders.runs, selection.plan(grid)
    states = job_states(plan, loaded, run_dir, slurm.query_statuses(plan.jobs, run_dir))
    rows = [
        (state.status, key, plan.jobs[key].title, state.reason)
        for key, state in states.items()
        if show_all or state.status != "done"
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
        typer.Option("--grid", "-g", help="Keep only the jobs of these grids; repeatable."),
    ] = None,
    run_dir: RunDir = Folders.run_dir,
    records: Annotated[RecordsDir, unless("--grid")] = Folders.records,
    *,
    inputs: Inputs,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove; without it the folders are only listed.")
    ] = False,
) -> None:
    """Remove job folders (weights, logs, checkpoints) that are no longer needed.

    Without --grid, keeps the jobs of all grids ever run in --run-dir, even if edited since, of
    configs/grids and of published records. Never removes records, or jobs that run or are queued.
    """
    from ltbench.config.files import available
    from ltbench.data.files import format_bytes
    from ltbench.launch.cleaning import needed_jobs, unneeded_folders

    folders = Folders(run_dir, records)
    runs, stored = folders.runs, folders.read(with_published=not grids).records
    plans = [inputs.plan(name) for name in grids or available("grids")]
    planned = {key for plan in plans for key in plan.jobs}
    needed = planned if grids else needed_jobs(plans, stored, runs)
    unneeded = unneeded_folders(needed, stored, runs)
    if unneeded:
        rows = ((each.folder.path.name, format_bytes(each.bytes), each.title) for each in unneeded)
        print_table(("Folder", "Size", "Job"), rows)
    action = "Would remove (pass --yes)"
    if yes:
        action, unneeded = "Removed", [each for each in unneeded if each.remove()]
    size = format_bytes(sum(each.bytes for each in unneeded))
    print_text(f"{action} {len(unneeded)} job folders, {size}.")
