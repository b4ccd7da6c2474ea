"""Recipes side by side: the same variants on the same data for a short and a long training."""

from collections.abc import Sequence

from ltbench.analysis.board import TITLES, Board, Entry, Metric
from ltbench.report.tables import Cell, Table, rank_column

METRICS: tuple[Metric, ...] = ("acc", "ua", "ra")


def recipes_tables(boards: Sequence[Board]) -> list[Table]:
    """Return a table for each dataset and network that several boards of a grid have."""
    beside: dict[tuple[str, str], list[Board]] = {}
    for board in boards:
        beside.setdefault((board.dataset.id, board.recipe.network), []).append(board)
    return [_side_by_side(found) for found in beside.values() if len(found) > 1]


def _side_by_side(boards: Sequence[Board]) -> Table:
    labels = dict.fromkeys(e.variant.label for board in boards for e in board.entries)
    entries = [{e.variant.label: e for e in board.entries} for board in boards]
    metrics = [m for m in METRICS if any(_has(e, m) for own in entries for e in own.values())]
    rows = [
        [
            Cell(label),
            *(
                Cell(value=own[label].values[metric]) if label in own else Cell()
                for own in entries
                for metric in metrics
            ),
        ]
        for label in labels
    ]
    columns = [f"{TITLES[metric]}, {b.recipe.name}" for b in boards for metric in metrics]
    for number, column in enumerate(columns, start=1):
        if not column.startswith(TITLES["ua"]):
            rank_column(rows, number)
    recipes = ", ".join(f"{b.recipe.name}: {b.recipe.first.epochs} epochs" for b in boards)
    return Table(
        name="recipes",
        title=f"{boards[0].title}: recipes side by side",
        caption=f"{boards[0].dataset.id}, {boards[0].recipe.network}. {recipes}. Each column is of "
        "one recipe, and ranked for itself; for what is n/a its own table says why.",
        columns=("Method", *columns),
        rows=tuple(tuple(row) for row in rows),
    )


def _has(entry: Entry, metric: Metric) -> bool:
    return entry.values[metric].state != "not available"
