"""The verb that prints the survey's tables with our numbers."""

from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli.options import Folders, GridNames, Inputs
from ltbench.cli.screen import print_bad, print_report, print_text
from ltbench.cli.tables import plans_of
from ltbench.config.errors import Location, did_you_mean, format_value

TO = Location("--to")


def survey(
    grids: GridNames = None,
    to: Annotated[
        Path | None,
        typer.Option(help="File to write instead; .csv, .json, .tex, .html or .md."),
    ] = None,
    *,
    folders: Folders,
    inputs: Inputs,
) -> None:
    """Print our numbers as Tables 5, 6 and 7 of the survey.

    Rows and columns are in the survey's order; an empty cell has its reason. Without --grid, all
    grids with records; grids with the same dataset and network fill the same tables.
    """
    from ltbench.analysis.result_set import boards
    from ltbench.core.files import write_atomically
    from ltbench.report.formats import FORMATS
    from ltbench.report.survey_tables import survey_tables
    from ltbench.runs.state import failed_jobs

    form = "" if to is None else to.suffix.removeprefix(".")
    if to is not None and form not in FORMATS:
        message = f"unknown format {format_value(form)}"
        raise TO.error("unknown-value", message, did_you_mean(form, FORMATS))
    loaded = folders.read()
    plans = plans_of(grids, loaded, inputs)
    tables = survey_tables(
        board
        for plan in plans
        for board in boards(plan, loaded.records, failed_jobs(plan, folders.runs))
    )
    if to is None:
        for _, table in tables:
            print_report(table)
    else:
        write_atomically(to, FORMATS[form](tables).encode(), durable=False)
        print_text(str(to))
    if not tables:
        print_text("No grid has a row of the survey's tables: pass --grid.")
    print_bad(loaded.bad)
