"""The command line: verbs only. Nothing here imports torch before a job or its data is touched."""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

import ltbench
from ltbench.config.catalogue import Catalogue
from ltbench.config.errors import ConfigError
from ltbench.config.expand import Plan, Row
from ltbench.config.load import available, load_dataset, schema
from ltbench.config.overrides import parse_overrides
from ltbench.data.errors import DataError, printable
from ltbench.data.image_cache import OnBad, build_cache, cache_folder, drop_damaged
from ltbench.data.prepare import prepare
from ltbench.data.report import (
    DataReport,
    check,
    describe,
    describe_built,
    describe_prepared,
    histogram,
    write_figure,
)
from ltbench.data.sources import load_pool, place_of, resolve_root
from ltbench.launch import emit, slurm
from ltbench.launch.cost import CostModel, duration, time_left
from ltbench.launch.local import Outcome
from ltbench.launch.machine import Slot, local_slots
from ltbench.launch.plan import Request, make_plan, read_catalogue, read_grid
from ltbench.launch.session import code_commit, find_work, run_here
from ltbench.launch.state import failed_jobs, job_states, tail, to_train
from ltbench.launch.task import run_task
from ltbench.results.board import boards
from ltbench.results.findings import load_findings
from ltbench.results.leaderboard import board_tables, write_leaderboard
from ltbench.results.readme import methods_table, published_methods, refresh_readme
from ltbench.results.render import markdown
from ltbench.results.store import BadRecord, Loaded, RecordError, RecordStore, publish
from ltbench.results.tables import ad_hoc_table
from ltbench.results.workspace import Workspace
from ltbench.tracking.wandb import Mode
from ltbench.training.options import Device, Options

MOST_CELLS = 5_000
"""Cells of a grid above which a person has to say yes."""

RUNS = Path("runs")
PUBLISHED = Path("results/records")
LEADERBOARD = Path("results/leaderboard")
FINDINGS = Path("results/findings.yaml")
FIGURES = (".png", ".svg", ".pdf")

app = typer.Typer(
    name="ltbench",
    help="Train every long-tailed method on the same splits and collect Acc / UA / RA tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
config_app = typer.Typer(help="Look at configurations.", no_args_is_help=True)
data_app = typer.Typer(help="Look at datasets and their long-tailed splits.", no_args_is_help=True)
results_app = typer.Typer(help="Look after records.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")

PIPED_WIDTH = 400
"""Characters that a table may take where no terminal limits it."""

console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
errors = Console(stderr=True)

GridName = Annotated[
    str, typer.Option("--grid", "-g", help="A grid's name, or the path of its YAML file.")
]
GridNames = Annotated[
    list[str] | None, typer.Option("--grid", "-g", help="Grids; default: those of configs/grids.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Override, e.g. recipe.first.epochs=5.")
]
Only = Annotated[list[str] | None, typer.Option("--only", help="Filter, e.g. variant=LDAM,NCM.")]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the images; else LTBENCH_DATA, else ./data.")
]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="Python file with methods of your own.")
]
Out = Annotated[Path, typer.Option(help="Folder that runs are written to.")]
Published = Annotated[Path, typer.Option(help="Folder of the published records.")]
Where = Annotated[Device, typer.Option("--device", help="Where to train.")]
Slots = Annotated[
    int | None, typer.Option(min=1, help="Jobs at a time; default: one a GPU, else one a core.")
]
JobsPerGpu = Annotated[int, typer.Option(min=1, help="Jobs that share a GPU.")]
Devices = Annotated[int, typer.Option(min=1, help="GPUs (or cores) of each job.")]
Tracking = Annotated[Mode, typer.Option("--wandb", help="Weights & Biases mirror.")]
CheckpointEvery = Annotated[float, typer.Option(min=0, help="Least seconds between checkpoints.")]
HungAfter = Annotated[
    float, typer.Option(min=1, help="Seconds without a step before a job is tried again.")
]
Launcher = Literal["local", "slurm"]
Emitted = Literal["commands", "sbatch"]
Huge = Annotated[bool, typer.Option("--yes", help="Do not ask about a huge grid.")]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        console.print(f"ltbench {ltbench.__version__}", highlight=False)
        raise typer.Exit


def _request(
    grid: str,
    data_root: Path | None = None,
    plugins: list[Path] | None = None,
    sets: list[str] | None = None,
    only: list[str] | None = None,
) -> Request:
    return Request(grid, tuple(sets or ()), tuple(only or ()), data_root, tuple(plugins or ()))


def _plans(names: list[str], data_root: Path | None, plugins: list[Path] | None) -> list[Plan]:
    return [make_plan(_request(name, data_root, plugins))[0] for name in names]


def _load(out: Path, published: Path) -> Loaded:
    return RecordStore(published, Workspace(out).records).load()


def _options(
    made: Plan,
    request: Request,
    device: Device,
    devices: int,
    tracking: Mode,
    checkpoint_every: float = 30.0,
    hung_after: float = 1800.0,
) -> Options:
    root = request.data_root
    return Options(
        grid=made.grid.name,
        data_root=None if root is None else str(root.absolute()),
        device=device,
        devices=devices,
        tracking=tracking,
        commit=code_commit(),
        checkpoint_every=checkpoint_every,
        hung_after=hung_after,
        plugins=tuple(str(path.absolute()) for path in request.plugins),
    )


@app.command()
def run(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
    device: Where = "auto",
    slots: Slots = None,
    jobs_per_gpu: JobsPerGpu = 1,
    devices: Devices = 1,
    wandb: Tracking = "auto",
    checkpoint_every: CheckpointEvery = 30.0,
    hung_after: HungAfter = 1800.0,
    launcher: Annotated[Launcher, typer.Option(help="What runs the jobs.")] = "local",
    partition: Annotated[str | None, typer.Option(help="Slurm: partition.")] = None,
    time: Annotated[str | None, typer.Option(help="Slurm: time limit of a turn.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Slurm: machines of each job.")] = 1,
    sbatch: Annotated[
        list[str] | None, typer.Option(help="Slurm: another word, e.g. account=lab or mem=32G.")
    ] = None,
    yes: Huge = False,
) -> None:
    """Train what a grid is missing, then print its tables; typed again, go on where it stopped."""
    request = _request(grid, data_root, plugins, sets, only)
    made, catalogue = make_plan(request, None if yes else MOST_CELLS)
    workspace = Workspace(out)
    if launcher == "slurm":
        where: Device = "cpu" if device == "cpu" else "gpu"
        options = _options(made, request, where, devices, wandb, checkpoint_every, hung_after)
        settings = slurm.Settings(partition, time, nodes, slurm.parse_words(sbatch or ()))
        work = find_work(made, workspace, published, options, console)
        numbers = slurm.submit(work.jobs, workspace, options, settings)
        _print(f"{len(numbers)} jobs are with Slurm; `ltbench status` says how far they are.")
        return
    places = local_slots(device, slots, jobs_per_gpu, devices)
    where = "gpu" if any(places[0]) else "cpu"
    options = _options(made, request, where, devices, wandb, checkpoint_every, hung_after)
    outcome = _run_here(made, workspace, published, places, options)
    _print_tables(made, catalogue, _load(out, published), workspace)
    _print(f"Records: {workspace.records}   logs and weights: {workspace.root / 'jobs'}")
    _exit(outcome)


@app.command()
def worker(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
    device: Where = "auto",
    slots: Slots = None,
    jobs_per_gpu: JobsPerGpu = 1,
    devices: Devices = 1,
    wandb: Tracking = "auto",
    checkpoint_every: CheckpointEvery = 30.0,
    hung_after: HungAfter = 1800.0,
) -> None:
    """Train what a grid is missing, one of any number that share its folder; take over the dead's.

    It ends when every job has its record, or cannot have one.
    """
    request = _request(grid, data_root, plugins, sets, only)
    made, _ = make_plan(request)
    places = local_slots(device, slots, jobs_per_gpu, devices)
    where: Device = "gpu" if any(places[0]) else "cpu"
    options = _options(made, request, where, devices, wandb, checkpoint_every, hung_after)
    _exit(_run_here(made, Workspace(out), published, places, options))


def _run_here(
    made: Plan, workspace: Workspace, published: Path, places: list[Slot], options: Options
) -> Outcome:
    try:
        outcome = run_here(made, workspace, published, places, options, console)
    except KeyboardInterrupt:
        outcome = Outcome(signal=signal.SIGINT)
    if outcome.signal is not None:
        errors.print("Interrupted; the same command goes on from here.", style="yellow")
        raise typer.Exit(128 + outcome.signal)
    return outcome


def _exit(outcome: Outcome) -> None:
    if outcome.failed or outcome.blocked:
        errors.print(
            f"{len(outcome.failed)} jobs failed, {len(outcome.blocked)} had nothing to start from; "
            "the same command tries them again.",
            style="red",
            soft_wrap=True,
        )
        raise typer.Exit(1)


@app.command(hidden=True)
def job(
    folder: Annotated[Path, typer.Argument(help="A job's folder, in which it is written down.")],
    requeue: Annotated[bool, typer.Option("--requeue", help="Slurm may run it again.")] = False,
) -> None:
    """Run one job that `plan --emit` or a launcher has written down."""
    raise typer.Exit(slurm.run_and_requeue(folder) if requeue else run_task(folder))


@app.command()
def cancel(
    grid: GridName,
    out: Out = RUNS,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
) -> None:
    """Cancel the jobs of a grid that wait or run in Slurm's queue."""
    made, _ = make_plan(_request(grid, data_root, plugins, sets, only))
    known = slurm.tickets(made.jobs, Workspace(out)).values()
    numbers = [ticket.number for ticket in known if ticket.words is not None]
    if numbers:
        slurm.cancel(numbers)
    _print(f"{len(numbers)} jobs cancelled.")


def _print_tables(plan: Plan, catalogue: Catalogue, loaded: Loaded, workspace: Workspace) -> None:
    """Print the tables of a plan; one whose settings were overridden is shown, never ranked."""
    if any(job.ad_hoc for job in plan.jobs.values()):
        keys = dict.fromkeys(row.key for row in plan.rows if row.key in loaded.records)
        records = [loaded.records[key].record for key in keys]
        table = ad_hoc_table([record for record in records if record.job.ad_hoc])
        tables = [] if table is None else [table]
    else:
        found = boards(plan, loaded.records, failed_jobs(plan, workspace))
        tables = [table for board in found for table in board_tables(board, catalogue.methods)]
    for table in tables:
        _print(markdown(table))


def _print(text: str) -> None:
    """Print text as it is, however long its lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    console.print(table)


def _print_bad(bad: Iterable[BadRecord]) -> None:
    for record in bad:
        message = printable(f"Record {record.place} is set aside: {record.reason}")
        errors.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)


@app.command()
def plan(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
    device: Where = "auto",
    slots: Slots = None,
    jobs_per_gpu: JobsPerGpu = 1,
    devices: Devices = 1,
    wandb: Tracking = "auto",
    emitted: Annotated[
        Emitted | None, typer.Option("--emit", help="Print what trains the missing jobs elsewhere.")
    ] = None,
    yes: Huge = False,
) -> None:
    """Say which jobs a grid needs, which are shared, and what they cost."""
    request = _request(grid, data_root, plugins, sets, only)
    made, _ = make_plan(request, None if yes else MOST_CELLS)
    if emitted is not None:
        options, workspace = _options(made, request, device, devices, wandb), Workspace(out)
        keys = to_train(made, _load(out, published), workspace)
        write = emit.commands if emitted == "commands" else emit.sbatch_script
        for line in write({key: made.jobs[key] for key in keys}, workspace, options):
            _print(line)
        return
    places = local_slots(device, slots, jobs_per_gpu, devices)
    loaded = _load(out, published)
    missing = to_train(made, loaded, Workspace(out))
    cost = CostModel(loaded)
    seconds = [cost.seconds(made.jobs[key]) for key in missing]
    expected = time_left(seconds, len(places))
    unknown = f"cost unknown: nothing like {seconds.count(None)} of them was measured yet"
    about = unknown if expected is None else f"about {duration(expected)} in {len(places)} slots"
    needed = f"{len(missing)} to train, {about}" if missing else "all have their records"
    _print_table(("Variant", "Split", "Cells", "Own jobs", "Shares"), _sharing(made))
    _print(f"{made.grid.title}: {len(made.rows)} cells from {len(made.jobs)} jobs; {needed}.")


def _sharing(made: Plan) -> Iterator[tuple[str, ...]]:
    """Yield variant, split, cells, jobs of its own, and whose other jobs it uses."""
    owner = {key: row.variant.label for row in reversed(made.rows) for key in row.jobs}
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in made.rows:
        groups.setdefault((row.variant.label, row.split), []).append(row)
    for (label, split), rows in groups.items():
        keys = dict.fromkeys(key for row in rows for key in row.jobs)
        others = dict.fromkeys(owner[key] for key in keys if owner[key] != label)
        starts = dict.fromkeys(s for key in keys for s in made.jobs[key].start if s not in keys)
        froms = dict.fromkeys(owner.get(start, made.jobs[start].label) for start in starts)
        words = [f"is the run of {name}" for name in others] + [f"needs {name}" for name in froms]
        own = sum(owner[key] == label for key in keys)
        shown = f"{label} (for UA)" if rows[0].needed_for_ua else label
        yield shown, split, str(len(rows)), str(own), ", ".join(words)


@app.command()
def status(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
    every: Annotated[bool, typer.Option("--all", help="List finished jobs too.")] = False,
) -> None:
    """Say which jobs are done, running, queued, failed, stale or missing, and why."""
    made, _ = make_plan(_request(grid, data_root, plugins, sets, only))
    workspace = Workspace(out)
    loaded = _load(out, published)
    states = job_states(made, loaded, workspace, slurm.tickets(made.jobs, workspace))
    rows = [
        (state.status, key, made.jobs[key].title, state.reason)
        for key, state in states.items()
        if every or state.status != "done"
    ]
    if rows:
        _print_table(("Status", "Key", "Job", "Reason"), rows)
    for key, state in states.items():
        if state.status == "failed":
            log = workspace.job(key).log
            _print(f"{log} ends with:\n{tail(log)}")
    counts = Counter(state.status for state in states.values())
    _print(", ".join(f"{n} {status}" for status, n in counts.items()))
    _print_bad(loaded.bad)


@app.command()
def leaderboard(
    grids: GridNames = None,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    to: Annotated[Path, typer.Option(help="Folder of the leaderboard.")] = LEADERBOARD,
    findings: Annotated[Path, typer.Option(help="Claims to test.")] = FINDINGS,
    data_root: DataRoot = None,
    plugins: Plugins = None,
    published_only: Annotated[
        bool, typer.Option("--published-only", help="Leave unpublished runs out.")
    ] = False,
    readme: Annotated[Path | None, typer.Option(help="README to refresh, too.")] = None,
) -> None:
    """Write the tables from the records: markdown, CSV and LaTeX.

    Without --grid it has the grids that records were trained for.
    """
    workspace = Workspace(out)
    loaded = RecordStore(published, None if published_only else workspace.records).load()
    trained = {stored.record.grid for stored in loaded.records.values()}
    names = grids or [name for name in available("grids") if name in trained]
    plans = _plans(names, data_root, plugins)
    failed: set[str] = set()
    if not published_only:
        failed = set().union(*(failed_jobs(made, workspace) for made in plans))
    claims = load_findings(findings) if findings.exists() else ()
    methods = read_catalogue(plugins or ()).methods
    for path in write_leaderboard(plans, loaded, methods, to, claims, failed):
        _print(str(path))
    if readme is not None:
        refresh_readme(readme, plans, loaded, methods, claims)
        _print(str(readme))
    _print_bad(loaded.bad)


@app.command()
def methods(plugins: Plugins = None, published: Published = PUBLISHED) -> None:
    """List the methods: where they come from, what they cost, how they are checked."""
    recorded = published_methods(RecordStore(published).load())
    table = methods_table(read_catalogue(plugins or ()).methods, recorded)
    _print_table(table.columns, ([cell.text for cell in row] for row in table.rows))
    _print(table.caption)


@config_app.command("show")
def config_show(
    grid: Annotated[str, typer.Argument(help="A grid's name or path.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Every job with all its settings.")
    ] = False,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
) -> None:
    """Print a grid as it is understood, or every job that it means."""
    request = _request(grid, data_root, plugins, sets, only)
    if resolved:
        made, _ = make_plan(request)
        value = {key: job.model_dump(mode="json") for key, job in made.jobs.items()}
    else:
        value = read_grid(request)[0].model_dump(mode="json")
    _print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schemas of the configuration files."""
    _print(json.dumps(schema(), indent=1))


DatasetName = Annotated[str, typer.Argument(help="A dataset of configs/datasets.")]


@data_app.command("check")
def data_check(name: DatasetName, data_root: DataRoot = None, sets: Sets = None) -> None:
    """Say what is there: images, classes, counts, groups, hashes of both splits."""
    _print(describe(_report(name, data_root, sets)))


@data_app.command("show")
def data_show(
    name: DatasetName,
    figure: Annotated[
        Path | None, typer.Option(help="Figure to write; default: the dataset's .png.")
    ] = None,
    data_root: DataRoot = None,
    sets: Sets = None,
) -> None:
    """Draw the training images of each class, here and into a figure."""
    if figure is not None and figure.suffix not in FIGURES:
        raise typer.BadParameter(f"a figure ends in {', '.join(FIGURES)}", param_hint="--figure")
    report = _report(name, data_root, sets)
    path = figure or Path(f"{report.spec.id}.png")
    _print(histogram(report))
    if write_figure(report, path):
        _print(f"Figure: {path}")
    else:
        _print("No figure: it needs matplotlib (`pip install 'ltbench[plots]'`).")


def _report(name: str, data_root: Path | None, sets: list[str] | None) -> DataReport:
    return check(load_dataset(name, parse_overrides(sets or ())), data_root)


@data_app.command("prepare")
def data_prepare(
    name: DatasetName,
    root: Annotated[Path, typer.Option(help="Folder of the images.")],
    lists: Annotated[Path, typer.Option(help="Folder of the official lists.")],
    data_root: DataRoot = None,
    sets: Sets = None,
) -> None:
    """Check a listed dataset's lists and images, choose its balanced twin, and write that down."""
    spec = load_dataset(name, parse_overrides(sets or ()))
    _print(describe_prepared(prepare(spec, root, lists, place_of(spec, resolve_root(data_root)))))


@data_app.command("cache")
def data_cache(
    name: DatasetName,
    data_root: DataRoot = None,
    short_side: Annotated[int, typer.Option(min=1, help="The recipe's short_side.")] = 256,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; default: one a core.")
    ] = None,
    on_bad: Annotated[OnBad, typer.Option(help="What becomes of images that are bad.")] = "error",
    verify: Annotated[bool, typer.Option("--verify", help="Read all of it again first.")] = False,
    sets: Sets = None,
) -> None:
    """Decode a dataset's images once, for all jobs; typed again, go on where it stopped."""
    spec = load_dataset(name, parse_overrides(sets or ()))
    pool = load_pool(spec, data_root)
    if not pool.files:
        raise DataError(f"{spec.name} needs no cache: its images are small and of one size")
    if verify:
        for shard in drop_damaged(cache_folder(spec, pool, short_side)):
            _print(f"{shard} was damaged and is made again")
    cores = len(os.sched_getaffinity(0))
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("decoding")
        built = build_cache(
            spec,
            pool,
            short_side,
            processes=processes or cores,
            on_bad=on_bad,
            progress=lambda done, all_: bar.update(task, completed=done, total=all_),
        )
    _print(describe_built(built))


@results_app.command("publish")
def results_publish(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    only: Only = None,
    plugins: Plugins = None,
) -> None:
    """Copy the records of a grid's finished jobs into the published ones."""
    made, _ = make_plan(_request(grid, data_root, plugins, only=only))
    records = Workspace(out).records
    ours = RecordStore(runs=records).load()
    _print_bad(ours.bad)
    written = publish(records, [key for key in made.jobs if key in ours.records], published)
    _print(f"{len(written)} records published to {published}")


@app.command()
def gc(
    grids: GridNames = None,
    out: Out = RUNS,
    data_root: DataRoot = None,
    plugins: Plugins = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it only say what.")] = False,
) -> None:
    """Remove the folders (weights, logs, checkpoints) of jobs that none of the grids has.

    Records are never removed.
    """
    workspace = Workspace(out)
    plans = _plans(grids or available("grids"), data_root, plugins)
    kept = {key for made in plans for key in made.jobs}
    folders = sorted((out / "jobs").glob("*/"))
    lost, size = 0, 0
    for folder in folders:
        with contextlib.ExitStack() as stack:
            if folder.name in kept or not stack.enter_context(workspace.job(folder.name).claim()):
                continue
            lost += 1
            size += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            if yes:
                shutil.rmtree(folder)
    word = "Removed" if yes else "Would remove (say --yes)"
    _print(f"{word} {lost} of {len(folders)} job folders, {size / 1e6:.1f} MB.")


def main() -> None:
    """Run the command line; what a user did wrong is a message, not a traceback."""
    try:
        app()
    except (ConfigError, DataError, RecordError, OSError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
