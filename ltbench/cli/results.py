"""Verbs of `ltbench results`."""

from pathlib import Path
from typing import Annotated

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
    load_records,
    make_request,
)
from ltbench.cli.screen import print_bad, print_text
from ltbench.data.sources import is_there, load_pool
from ltbench.launch.plan import make_plan, read_catalogue
from ltbench.results.export import find_run, write_export
from ltbench.results.store import RecordStore, publish
from ltbench.results.workspace import Workspace

EXPORTS = Path("exports")

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


@results_app.command("export")
def results_export(
    run: Annotated[str, typer.Argument(help="A job's key, or how it begins.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: exports/ and the key.")
    ] = None,
    out: Out = RUNS,
    published: Published = PUBLISHED,
    data_root: DataRoot = None,
    plugins: Plugins = None,
) -> None:
    """Write a run's weights, configuration, record and model card into a folder."""
    record = find_run(run, load_records(out, published).records)
    info = read_catalogue(plugins or ()).get(record.method)
    spec, classes = record.job.dataset, None
    if is_there(spec, data_root):
        classes = load_pool(spec, data_root, download=False).class_names
    folder = to or EXPORTS / record.key
    for path in write_export(record, Workspace(out).job(record.key), classes, info, folder):
        print_text(str(path))
