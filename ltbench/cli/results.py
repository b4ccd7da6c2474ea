"""Verbs of `ltbench results`."""

import typer

from ltbench.cli.options import (
    PUBLISHED,
    RUNS,
    DataRoot,
    GridName,
    Only,
    Out,
    Plugins,
    Published,
    make_request,
)
from ltbench.cli.screen import print_bad, print_text
from ltbench.launch.plan import make_plan
from ltbench.results.store import RecordStore, publish
from ltbench.results.workspace import Workspace

results_app = typer.Typer(help="Look after records.", no_args_is_help=True)


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
    made, _ = make_plan(make_request(grid, data_root, plugins, only=only))
    records = Workspace(out).records
    ours = RecordStore(runs=records).load()
    print_bad(ours.bad)
    written = publish(records, [key for key in made.jobs if key in ours.records], published)
    print_text(f"{len(written)} records published to {published}")
