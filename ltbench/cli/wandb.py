"""Verbs of `ltbench wandb`."""

from typing import Annotated

import typer

from ltbench.cli.options import Folders, GridName, Inputs, RunDir
from ltbench.cli.screen import errors, print_table, print_text
from ltbench.cli.verbs import Needs, Verbs

wandb_app = Verbs(help="Look after the Weights & Biases mirror.", no_args_is_help=True)


@wandb_app.command("sync")
def wandb_sync(
    grid: Annotated[
        str | None, typer.Option("--grid", "-g", help="Jobs of a grid; default: all of --run-dir.")
    ] = None,
    run_dir: RunDir = Folders.run_dir,
    *,
    inputs: Annotated[Inputs, Needs("--grid")],
) -> None:
    """Push what was logged offline, the attempts at a job in their order."""
    from ltbench.runs.run_dir import RunDirectory
    from ltbench.tracking.offline import push, unsynced_runs

    keys = None if grid is None else inputs.plan(grid).jobs
    runs = unsynced_runs(RunDirectory(run_dir), keys)
    pushed = push(runs, run_dir)
    print_text(f"{len(pushed)} of {len(runs)} offline runs were pushed.")
    if len(pushed) < len(runs):
        raise typer.Exit(1)


@wandb_app.command("pull")
def wandb_pull(
    grid: GridName,
    entity: Annotated[
        str | None, typer.Option(help="User or team that has the project; default: yours.")
    ] = None,
    *,
    folders: Folders,
    inputs: Inputs,
) -> None:
    """Read the runs of a grid back, and say where they and the records disagree."""
    from ltbench.tracking.pull import disagreements, pull_runs

    made = inputs.plan(grid)
    loaded = folders.load().records
    records = {key: loaded[key].record for key in made.jobs if key in loaded}
    runs = pull_runs(made.grid.name, entity)
    found = disagreements(runs, records)
    both = sum(run.key in records for run in runs)
    print_text(f"{len(runs)} runs there, {len(records)} records here, {both} in both.")
    if not found:
        print_text("They agree.")
        return
    titles = {key: job.title for key, job in made.jobs.items()}
    lines = ((key, titles.get(key, ""), line) for key, said in found.items() for line in said)
    print_table(("Key", "Job", "Disagreement"), lines)
    errors.print(f"{len(found)} runs disagree; the records are what counts.", style="red")
    raise typer.Exit(1)
