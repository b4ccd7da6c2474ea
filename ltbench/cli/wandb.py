"""Verbs of `ltbench wandb`: sync offline runs, compare runs with records."""

from typing import Annotated

import typer

from ltbench.cli.options import Folders, GridName, Inputs, RunDir, existing
from ltbench.cli.screen import errors, print_table, print_text
from ltbench.cli.verbs import Needs, Verbs

wandb_app = Verbs(
    help="Sync with Weights & Biases, and compare it with the records.", no_args_is_help=True
)


@wandb_app.command("sync")
def wandb_sync(
    grid: Annotated[
        str | None,
        typer.Option("--grid", "-g", help="Only the jobs of this grid; default: all of --run-dir."),
    ] = None,
    run_dir: RunDir = Folders.run_dir,
    *,
    inputs: Annotated[Inputs, Needs("--grid")],
) -> None:
    """Sync the runs that were logged offline to the server."""
    from ltbench.tracking.offline import sync, unsynced_runs

    folder = existing(run_dir)
    keys = None if grid is None else inputs.plan(grid).jobs
    runs = unsynced_runs(folder, keys)
    synced = sync(runs, run_dir)
    print_text(f"{len(synced)} of {len(runs)} offline runs were synced.")
    if len(synced) < len(runs):
        raise typer.Exit(1)


@wandb_app.command("pull")
def wandb_pull(
    grid: GridName,
    entity: Annotated[
        str | None, typer.Option(help="User or team that owns the project; default: yours.")
    ] = None,
    *,
    folders: Folders,
    inputs: Inputs,
) -> None:
    """Compare the server's runs of a grid with the records."""
    from ltbench.tracking.pull import disagreements, pull_runs

    plan = inputs.plan(grid)
    loaded = folders.read().records
    records = {key: loaded[key].record for key in plan.jobs if key in loaded}
    runs = pull_runs(plan.jobs, entity)
    differences = disagreements(runs, records)
    both = sum(run.key in records for run in runs)
    print_text(f"{len(runs)} runs on the server, {len(records)} records here, {both} in both.")
    if not differences:
        print_text("They agree.")
        return
    titles = {key: job.title for key, job in plan.jobs.items()}
    rows = ((key, titles.get(key, ""), line) for key, of in differences.items() for line in of)
    print_table(("Key", "Job", "Disagreement"), rows)
    errors.print(f"{len(differences)} runs disagree; the records are right.", style="red")
    raise typer.Exit(1)
