"""Mean ranks of variants over several datasets."""

from collections.abc import Sequence

from ltbench.analysis.board import Board
from ltbench.analysis.mean_ranks import accuracies, rank_variants
from ltbench.core.exact import fixed, significant
from ltbench.report.tables import Cell, Table

FEWEST = 5
"""Datasets below which nothing is said."""


def ranks_table(boards: Sequence[Board]) -> Table | None:
    """Return mean ranks over datasets; None below five of them, or three variants on all."""
    datasets, scores = accuracies(boards)
    if len(datasets) < FEWEST or len(scores) < 3:
        return None
    ranks = rank_variants(scores)
    alike: dict[str, list[str]] = {}
    for number, names in enumerate(ranks.alike(), start=1):
        for name in names:
            alike.setdefault(name, []).append(str(number))
    return Table(
        name="ranks",
        title=f"Ranks over {len(datasets)} datasets",
        caption=f"Mean rank by accuracy on {', '.join(datasets)}, of the variants that are "
        f"complete on all of them. Friedman test: p = {significant(ranks.friedman, 3)}; Nemenyi's "
        f"critical difference at 5 %: {fixed(ranks.critical_difference, 2)}. Neighbours that share "
        "a number cannot be told apart (Wilcoxon's signed-rank test on every two, Holm's "
        "correction, 5 %). Ranks change with the variants that are compared.",
        columns=("Method", "Mean rank", "Alike"),
        rows=tuple(
            (Cell(name), Cell(fixed(place, 2)), Cell(" ".join(alike.get(name, []))))
            for name, place in ranks.means.items()
        ),
    )
