"""The verb that compares our order of methods with a published one."""

from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli.options import Folders, missing_files
from ltbench.cli.screen import print_bad, print_report, print_text
from ltbench.config.errors import raise_all

HISTORY = Path("benchmarks/results/resnet8_12_epochs.csv")


def agreement(
    folders: Folders,
    history: Annotated[
        Path, typer.Option(help="Earlier boards, kept as counts by class; left out if absent.")
    ] = HISTORY,
) -> None:
    """Compare the order of methods with that of a published table.

    Prints both accuracies of the rows that a board shares with the table, and rank correlations.
    Published numbers of another recipe are read here alone; they fill no cell of a leaderboard.
    """
    from ltbench.analysis.agreement import comparable_runs, read_history
    from ltbench.report.agreement_tables import agreement_tables

    raise_all(missing_files({"--history": history}, HISTORY))
    loaded = folders.read()
    earlier = read_history(history) if history.exists() else []
    tables = agreement_tables(comparable_runs(loaded.records), earlier)
    for made in tables:
        print_report(made)
    if not tables:
        print_text("No board has three methods of a published table: train some of its grid first.")
    print_bad(loaded.bad)
