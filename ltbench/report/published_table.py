"""Figures that papers report beside ours, each with its source and how far ours is from it."""

from dataclasses import replace

from ltbench.analysis.board import DECIMALS, TITLES, Board
from ltbench.analysis.published import METRICS, comparable, misprints
from ltbench.core.exact import fixed
from ltbench.report.render import signed_text
from ltbench.report.tables import Cell, Table, printed, setting


def published_table(board: Board) -> Table | None:
    """Return every published figure for a variant of a board; None where there is none."""
    beside = comparable(board)
    wrong = misprints(beside.figures)
    rows, notes = [], []
    for entry in board.entries:
        for metric in METRICS:
            ours = entry.values[metric]
            for figure in beside.of(entry, metric):
                difference = Cell()
                if ours.mean is not None:
                    gap = replace(ours, mean=ours.mean - figure.value, std=None, interval=None)
                    difference = Cell(signed_text(gap), gap)
                theirs = Cell(printed(figure.value))
                if figure in wrong:
                    notes.append(f"Printed so; Acc / UA is {fixed(wrong[figure], DECIMALS)}.")
                    theirs = replace(theirs, notes=(len(notes),))
                names = (entry.variant.label, TITLES[metric], figure.source)
                rows.append((*map(Cell, names), Cell(value=ours), theirs, difference))
    if not rows:
        return None
    return Table(
        name="published",
        title=f"{board.title}: published figures",
        caption=f"{setting(board)} Published for the same dataset, ratio, network and number of "
        "epochs; other settings may differ. Difference: ours less theirs, in points.",
        columns=("Method", "Metric", "Source", "Ours", "Published", "Difference"),
        rows=tuple(rows),
        notes=tuple(notes),
        names=3,
    )
