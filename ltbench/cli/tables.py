"""Verbs that write and print tables of records."""

from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli.options import (
    PUBLISHED,
    RUNS,
    DataRoot,
    GridNames,
    Out,
    Plugins,
    Published,
    make_plans,
)
from ltbench.cli.screen import print_bad, print_table, print_text
from ltbench.config.load import available
from ltbench.launch.plan import read_catalogue
from ltbench.launch.state import failed_jobs
from ltbench.results.findings import load_findings
from ltbench.results.leaderboard import write_leaderboard
from ltbench.results.readme import methods_table, published_methods, refresh_readme
from ltbench.results.store import RecordStore
from ltbench.results.workspace import Workspace

LEADERBOARD = Path("results/leaderboard")
FINDINGS = Path("results/findings.yaml")


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
    plans = make_plans(names, data_root, plugins)
    failed: set[str] = set()
    if not published_only:
        failed = set().union(*(failed_jobs(made, workspace) for made in plans))
    claims = load_findings(findings) if findings.exists() else ()
    methods = read_catalogue(plugins or ()).methods
    for path in write_leaderboard(plans, loaded, methods, to, claims, failed):
        print_text(str(path))
    if readme is not None:
        refresh_readme(readme, plans, loaded, methods, claims)
        print_text(str(readme))
    print_bad(loaded.bad)


def methods(plugins: Plugins = None, published: Published = PUBLISHED) -> None:
    """List the methods: where they come from, what they cost, how they are checked."""
    recorded = published_methods(RecordStore(published).load())
    table = methods_table(read_catalogue(plugins or ()).methods, recorded)
    print_table(table.columns, ([cell.text for cell in row] for row in table.rows))
    print_text(table.caption)
