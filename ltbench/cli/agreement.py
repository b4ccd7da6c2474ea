"""The verb that compares the order of methods with that of a published table."""

from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli.options import Folders
from ltbench.cli.screen import print_bad, print_report, print_text

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
    from ltbench.analysis.agreement import boards_of, read_history, reference_tables, scores_of
    from ltbench.analysis.runs import table_of_runs
    from ltbench.report.agreement_tables import BOTH, ORDERS, Compared, Order, ceiling
    from ltbench.report.table import build

    loaded = folders.load()
    earlier = read_history(history) if history.exists() else []
    for table in reference_tables():
        orders = []
        for runs in (table_of_runs(loaded.records).exact, earlier):
            for (dataset, recipe), own in boards_of(table, runs).items():
                compared = Compared(table, f"{dataset}, {recipe}", scores_of(table, own))
                found = compared.agreement
                if found is None:
                    continue
                orders.append(Order(compared.title, found))
                if runs is not earlier:
                    for made in build([BOTH], compared):
                        print_report(made)
        best, noise = ceiling(table)
        for made in build([ORDERS], [*orders, best]):
            print_report(made)
        print_text(noise)
    print_bad(loaded.bad)
