"""How far the confidence of a board's variants is from their accuracy."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from ltbench.analysis.board import TITLES, Board, Value
from ltbench.core.exact import measured
from ltbench.core.groups import GROUPS, RULES, Group
from ltbench.report.tables import Cell, Table, over_seeds, rank_column, setting
from ltbench.runs.record import Calibration, Record
from ltbench.runs.store import Stored


def calibration_table(board: Board, records: Mapping[str, Stored]) -> Table:
    """Return the expected calibration error, by groups too, and mean confidence of each variant.

    Records that came before calibration by groups have none.
    """
    rows = []
    for entry in board.entries:
        acc = entry.values["acc"]
        bins = {key: _bins(records[key].record) for key in acc.keys}
        errors = {key: measured(found.ece) for key, found in bins.items() if found}
        confident = {key: found.mean_confidence for key, found in bins.items() if found}
        grouped = (_by_group(acc, records, group) for group in GROUPS)
        values = (acc, *(over_seeds(acc, each) for each in (errors, confident)), *grouped)
        rows.append([Cell(entry.variant.label), *(Cell(value=value) for value in values)])
    for column in (2, *range(4, 4 + len(GROUPS))):
        rank_column(rows, column, lowest=True)
    return Table(
        name="calibration",
        title=f"{board.title}: calibration",
        caption=f"{setting(board)} ECE: mean distance in % between confidence, the largest class "
        "probability, and accuracy in 15 equal bins of confidence, weighted by images (Naeini et "
        "al., AAAI 2015); the lowest is marked as best. A mean confidence above Acc is too sure. "
        "Probabilities are the softmax of what a method predicts, also where that is no logarithm "
        "of a probability, as NCM's distances. "
        f"By groups: {RULES[board.dataset.groups]}; older records do not have them.",
        columns=("Method", "Acc", "ECE", "Confidence", *(f"ECE {TITLES[g]}" for g in GROUPS)),
        rows=tuple(tuple(row) for row in rows),
    )


def _bins(record: Record) -> Calibration | None:
    return None if record.test is None else record.test.calibration


def _by_group(acc: Value, records: Mapping[str, Stored], group: Group) -> Value:
    """Return the calibration error on the images of a group, where the records have it."""
    errors: dict[str, Fraction | None] = {}
    for key in acc.keys:
        test = records[key].record.test
        if test is not None and test.group_calibration is not None:
            bins = test.group_calibration.get(group)
            errors[key] = None if bins is None else measured(bins.ece)
    if any(error is not None for error in errors.values()) or not acc.keys:
        return over_seeds(acc, errors)
    if errors:
        return replace(acc, mean=None, std=None, state="empty")
    return replace(acc, mean=None, std=None, state="not available", reason="not in older records")
