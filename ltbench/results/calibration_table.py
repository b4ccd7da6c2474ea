"""How far the confidence of a board's variants is from their accuracy."""

from collections.abc import Mapping

from ltbench.results.board import Board
from ltbench.results.record import Calibration, Record
from ltbench.results.store import Stored
from ltbench.results.tables import Cell, Table, over_seeds, rank_column, setting


def calibration_table(board: Board, records: Mapping[str, Stored]) -> Table:
    """Return the expected calibration error and mean confidence of each variant."""
    rows = []
    for entry in board.entries:
        acc = entry.values["acc"]
        bins = {key: _bins(records[key].record) for key in acc.keys}
        errors = {key: found.ece for key, found in bins.items() if found}
        confident = {key: found.mean_confidence for key, found in bins.items() if found}
        values = (acc, *(over_seeds(acc, fractions) for fractions in (errors, confident)))
        rows.append([Cell(entry.variant.label), *(Cell(value=value) for value in values)])
    rank_column(rows, 2, lowest=True)
    return Table(
        name="calibration",
        title=f"{board.title}: calibration",
        caption=f"{setting(board)} ECE: mean distance in % between confidence, the largest class "
        "probability, and accuracy in 15 equal bins of confidence, weighted by images (Naeini et "
        "al., AAAI 2015); the lowest is marked as best. A mean confidence above Acc is too sure.",
        columns=("Method", "Acc", "ECE", "Confidence"),
        rows=tuple(tuple(row) for row in rows),
    )


def _bins(record: Record) -> Calibration | None:
    return None if record.test is None else record.test.calibration
