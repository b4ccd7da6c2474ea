"""The command line: verbs only. Nothing here imports torch before a job or its data is touched."""

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import ltbench
from ltbench.config.catalogue import Catalogue, load_catalogue
from ltbench.config.errors import ConfigError
from ltbench.config.expand import Plan
from ltbench.config.load import available, load_dataset, schema
from ltbench.data.errors import DataError
from ltbench.launch.cost import CostModel
from ltbench.launch.display import duration
from ltbench.launch.plan import Request, grid_size, make_plan, read_grid
from ltbench.launch.session import code_commit, run_plan, this_machine
from ltbench.launch.state import job_states, to_train
from ltbench.results.board import boards
from ltbench.results.findings import load_findings
from ltbench.results.leaderboard import board_tables, write_leaderboard
from ltbench.results.render import markdown
from ltbench.results.store import Loaded, RecordError, RecordStore, publish
from ltbench.results.workspace import Workspace
from ltbench.training.options import Options

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

console = Console()
errors = Console(stderr=True)

GridName = Annotated[str, typer.Option("--grid", "-g", help="A grid's name, or the path of its YAML file.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. recipe.first.epochs=5.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Filter, e.g. variant=Softmax,LDAM.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the images; else LTBENCH_DATA, else ./data.")]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="Python file with methods of your own.")]
Out = Annotated[Path, typer.Option(help="Folder that runs are written to.")]
Published = Annotated[Path, typer.Option(help="Folder of the published records.")]
CONFIRM_ABOVE = 5_000
"""Cells of a grid above which a person has to say yes."""

RUNS = Path("runs")
PUBLISHED = Path("results/records")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        console.print(f"ltbench {ltbench.__version__}", highlight=False)
        raise typer.Exit


def _request(
    grid: str, sets: list[str] | None, only: list[str] | None, data_root: Path | None, plugins: list[Path] | None
) -> Request:
    return Request(grid, tuple(sets or ()), tuple(only or ()), data_root, tuple(plugins or ()))


def _confirm_size(request: Request, *, yes: bool) -> None:
    """Ask before a grid is planned that nobody can want by accident."""
    rows = grid_size(read_grid(request)[0])
    if rows > CONFIRM_ABOVE and not yes:
        errors.print(f"The grid has {rows:,} cells; say --yes if that is what you want.", style="red")
        raise typer.Exit(2)


def _load(out: Path, published: Path) -> Loaded:
    return RecordStore(published, Workspace(out).records).load()


@app.command()
def run(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
    device: Annotated[Literal["auto", "cpu", "gpu"], typer.Option(help="Where to train.")] = "auto",
    slots: Annotated[int | None, typer.Option(min=1, help="Jobs at a time; default: GPUs, else cores.")] = None,
    jobs_per_gpu: Annotated[int, typer.Option(min=1, help="Jobs that share a GPU.")] = 1,
    wandb: Annotated[
        Literal["auto", "offline", "online", "off"], typer.Option(help="Weights & Biases mirror.")
    ] = "auto",
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Least seconds between checkpoints.")] = 30.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a huge grid.")] = False,
) -> None:
    """Train what a grid is missing, then print its tables. Typing it again goes on where it stopped."""
    request = _request(grid, sets, only, data_root, plugins)
    _confirm_size(request, yes=yes)
    plan, catalogue = make_plan(request)
    machine = this_machine(device, slots, jobs_per_gpu)
    options = Options(
        grid=plan.grid.name,
        data_root=None if data_root is None else str(data_root.absolute()),
        device="cuda:0" if machine.gpus else "cpu",
        tracking=wandb,
        commit=code_commit(),
        checkpoint_every=checkpoint_every,
        plugins=tuple(str(path.absolute()) for path in request.plugins),
    )
    workspace = Workspace(out)
    outcome = run_plan(plan, workspace, published, machine, options, console)
    _print_tables(plan, catalogue, _load(out, published))
    console.print(f"Records: {workspace.records}   logs and weights: {workspace.root / 'jobs'}", highlight=False)
    if outcome.failed or outcome.blocked:
        errors.print(
            f"{len(outcome.failed)} jobs failed, {len(outcome.blocked)} had nothing to start from; "
            "the same command tries them again.",
            style="red",
        )
        raise typer.Exit(1)


def _print_tables(plan: Plan, catalogue: Catalogue, loaded: Loaded) -> None:
    for board in boards(plan, loaded.records):
        for table in board_tables(board, catalogue.methods):
            console.print(markdown(table), markup=False, highlight=False, soft_wrap=True)


@app.command()
def plan(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Jobs at a time; default: GPUs, else cores.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a huge grid.")] = False,
) -> None:
    """Say which jobs a grid needs, which are shared, and what they cost."""
    request = _request(grid, sets, only, data_root, plugins)
    _confirm_size(request, yes=yes)
    made, _ = make_plan(request)
    loaded = _load(out, published)
    missing = to_train(made, loaded, Workspace(out))
    cost = CostModel(stored.record for stored in loaded.records.values())
    table = Table("Variant", "Split", "Cells", "Own jobs", "Shares", title=escape(made.grid.title))
    users = Counter(row.key for row in made.rows)
    first = {key: row.variant.label for row in reversed(made.rows) for key in row.jobs}
    for (label, split), rows in _grouped(made).items():
        own = [key for row in rows for key in row.jobs if first[key] == label]
        shared = sorted({first[row.key] for row in rows if first[row.key] != label})
        starts = sorted({first[s] for row in rows for k in row.jobs for s in made.jobs[k].start if s in first})
        words = [f"is {name}'s run" for name in shared] + [f"starts from {n}" for n in starts if n != label]
        table.add_row(escape(label), split, str(len(rows)), str(len(own)), escape(", ".join(words)))
    console.print(table)
    seconds = [cost.seconds(made.jobs[key]) for key in missing]
    machine = this_machine(slots=slots)
    console.print(
        f"{len(made.rows)} cells from {len(made.jobs)} jobs ({sum(users.values()) - len(users)} cells shared); "
        f"{len(missing)} to train: {_cost(seconds, machine.slots)}.",
        highlight=False,
    )


def _grouped(made: Plan) -> dict[tuple[str, str], list]:  # type: ignore[type-arg]
    groups: dict[tuple[str, str], list] = {}  # type: ignore[type-arg]
    for row in made.rows:
        groups.setdefault((row.variant.label, row.split), []).append(row)
    return groups


def _cost(seconds: list[float | None], slots: int) -> str:
    known = [s for s in seconds if s is not None]
    if len(known) < len(seconds):
        return f"cost unknown for {len(seconds) - len(known)} of them (nothing like them was measured yet)"
    return f"about {duration(sum(known) / slots)} in {slots} slots"


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
    """Say which jobs are done, running, failed, stale or missing, and why."""
    made, _ = make_plan(_request(grid, sets, only, data_root, plugins))
    loaded = _load(out, published)
    states = job_states(made, loaded, Workspace(out))
    table = Table("Status", "Key", "Job", "Reason")
    for key, state in states.items():
        if every or state.status != "done":
            table.add_row(state.status, key, escape(made.jobs[key].title), escape(state.reason))
    if table.row_count:
        console.print(table)
    counts = Counter(state.status for state in states.values())
    console.print(", ".join(f"{n} {status}" for status, n in counts.items()), highlight=False)
    for bad in loaded.bad:
        console.print(f"set aside: {bad.place}: {bad.reason}", style="yellow", markup=False)


@app.command()
def leaderboard(
    grids: Annotated[
        list[str] | None, typer.Option("--grid", "-g", help="Grids; default: all that have a record.")
    ] = None,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    to: Annotated[Path, typer.Option(help="Folder of the leaderboard.")] = Path("results/leaderboard"),
    findings: Annotated[Path, typer.Option(help="Claims to test.")] = Path("results/findings.yaml"),
    data_root: DataRoot = None,
    published_only: Annotated[bool, typer.Option(help="Leave unpublished runs out.")] = True,
) -> None:
    """Write the tables from the records: markdown, CSV and LaTeX."""
    loaded = RecordStore(published, None if published_only else Workspace(out).records).load()
    plans = [make_plan(Request(name, data_root=data_root))[0] for name in grids or available("grids")]
    if not grids:
        plans = [made for made in plans if any(key in loaded.records for key in made.jobs)]
    claims = load_findings(findings) if findings.exists() else ()
    for path in write_leaderboard(plans, loaded, load_catalogue().methods, to, claims):
        console.print(str(path), highlight=False)


@app.command()
def methods() -> None:
    """List the methods: key, name, paper, category, stages."""
    table = Table("Key", "Method", "Paper", "Category", "Stages")
    for key, info in load_catalogue().methods.items():
        paper = f"{info.paper.venue} {info.paper.year}" if info.paper else "–"
        stages = ([f"({info.start_from})"] if info.start_from else []) + [s.name for s in info.stages]
        table.add_row(key, info.title, paper, info.category, " → ".join(stages))
    console.print(table)


@config_app.command("show")
def config_show(
    grid: Annotated[str, typer.Argument(help="A grid's name or path.")],
    resolved: Annotated[bool, typer.Option("--resolved", help="Every job with all its settings.")] = False,
    data_root: DataRoot = None,
    sets: Sets = None,
    only: Only = None,
    plugins: Plugins = None,
) -> None:
    """Print a grid as it is understood, or every job that it means."""
    request = _request(grid, sets, only, data_root, plugins)
    if resolved:
        made, _ = make_plan(request)
        value = {key: job.model_dump(mode="json") for key, job in made.jobs.items()}
    else:
        value = read_grid(request)[0].model_dump(mode="json")
    console.print(yaml.safe_dump(value, sort_keys=False), markup=False, highlight=False, soft_wrap=True)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schemas of the configuration files."""
    console.print(json.dumps(schema(), indent=1), markup=False, highlight=False, soft_wrap=True)


@data_app.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="A dataset of configs/datasets.")],
    data_root: DataRoot = None,
    sets: Sets = None,
) -> None:
    """Say what is there: images, classes, counts, groups, hashes of both splits."""
    from ltbench.config.overrides import parse_overrides
    from ltbench.data.report import check_report

    spec = load_dataset(name, parse_overrides(sets or ()))
    console.print(check_report(spec, data_root), markup=False, highlight=False, soft_wrap=True)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="A dataset of configs/datasets.")],
    figure: Annotated[Path | None, typer.Option(help="Figure to write.")] = None,
    data_root: DataRoot = None,
    sets: Sets = None,
) -> None:
    """Draw the training images of each class, here and into a figure."""
    from ltbench.config.overrides import parse_overrides
    from ltbench.data.report import show_report

    spec = load_dataset(name, parse_overrides(sets or ()))
    text = show_report(spec, data_root, figure or Path(f"{spec.id}.png"))
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@results_app.command("publish")
def results_publish(
    grid: GridName,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    only: Only = None,
) -> None:
    """Copy the records of a grid's finished jobs into the published ones."""
    made, _ = make_plan(_request(grid, None, only, data_root, None))
    records = Workspace(out).records
    ours = RecordStore(runs=records).load().records
    written = publish(records, [key for key in made.jobs if key in ours], published)
    console.print(f"{len(written)} records published to {published}", highlight=False)


@app.command()
def gc(
    grids: Annotated[list[str] | None, typer.Option("--grid", "-g", help="Grids to keep the jobs of.")] = None,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it only say what.")] = False,
) -> None:
    """Remove job folders (weights, logs, checkpoints) that no grid and no missing job needs.

    Records are never removed.
    """
    workspace = Workspace(out)
    kept: set[str] = set()
    for name in grids or available("grids"):
        kept |= set(make_plan(Request(name, data_root=data_root))[0].jobs)
    folders = sorted((out / "jobs").glob("*")) if (out / "jobs").is_dir() else []
    lost = [path for path in folders if path.name not in kept and not workspace.job(path.name).is_claimed()]
    size = sum(file.stat().st_size for path in lost for file in path.rglob("*") if file.is_file())
    for path in lost:
        if yes:
            shutil.rmtree(path)
    word = "Removed" if yes else "Would remove (say --yes)"
    console.print(f"{word} {len(lost)} of {len(folders)} job folders, {size / 1e6:.1f} MB.", highlight=False)


def main() -> None:
    """Run the command line; what a user did wrong is a message, not a traceback."""
    try:
        app()
    except (ConfigError, DataError, RecordError, ValueError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("Interrupted; the same command goes on from here.", style="yellow")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
