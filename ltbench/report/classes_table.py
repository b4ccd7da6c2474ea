"""How a board's variants do on each class of an uneven test set."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from ltbench.analysis.board import Board, Value
from ltbench.report.tables import Cell, Table, over_seeds, rank_cells, setting
from ltbench.runs.store import Stored

CLASSES_SHOWN = 200
"""Classes that a table of single ones has at most."""


def classes_table(board: Board, records: Mapping[str, Stored]) -> Table | None:
    """Return the accuracy of each variant on each class, a row a class, the largest first.

    Returns:
        None where the test set has as many images of every class, or there are too many classes.
    """
    found = [records[key].record for entry in board.entries for key in entry.values["acc"].keys]
    first = next((record for record in found if record.test), None)
    if first is None or first.test is None or not board.uneven_test:
        return None
    if board.dataset.classes > CLASSES_SHOWN:
        return None
    names = first.split.class_names or tuple(map(str, range(board.dataset.classes)))
    counts, totals = first.split.longtailed_counts, first.test.totals
    rows: list[list[Cell]] = []
    for k in sorted(range(len(names)), key=lambda k: -counts[k]):
        row = [Cell(names[k]), Cell(str(counts[k])), Cell(str(totals[k]))]
        row += [Cell(value=_of_class(entry.values["acc"], k, records)) for entry in board.entries]
        rank_cells(row, range(3, len(row)))
        rows.append(row)
    return Table(
        name="classes",
        title=f"{board.title}: each class",
        caption=f"{setting(board)} Training images are those of the long-tailed split. Best and "
        "second are marked along a row.",
        columns=(
            "Class",
            "Training images",
            "Test images",
            *(e.variant.label for e in board.entries),
        ),
        rows=tuple(tuple(row) for row in rows),
    )


def _of_class(acc: Value, k: int, records: Mapping[str, Stored]) -> Value:
    """Return the accuracy on class k over the records behind an accuracy on all."""
    if not acc.keys:
        return acc
    tests = {key: records[key].record.test for key in acc.keys}
    known = {
        key: Fraction(test.hits[k], test.totals[k])
        for key, test in tests.items()
        if test and test.totals[k]
    }
    return over_seeds(acc, known) if known else replace(acc, mean=None, std=None, state="empty")
