"""Tables as JSON: all that the model holds, a row a line, so that differences can be read."""

import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ltbench.analysis.board import Value
from ltbench.report.render import cell_text
from ltbench.report.tables import Cell, Table

DECIMALS = 6
"""Of numbers."""


def json_text(tables: Sequence[tuple[str, Table]]) -> str:
    """Return tables for programs: titles, columns, notes, and each cell with its records' keys.

    A cell has the `text` that a person reads, `rank` 1 where it is best and 2 where it is second,
    and the numbers of its notes; of a value also mean, deviation and interval as far as there are
    any, `n` of `planned` seeds, its state, and keys.

    Args:
        tables: each with the name of its board.
    """
    parts = (_table(board, table) for board, table in tables)
    return '{"tables": [\n' + ",\n".join(parts) + "\n]}\n"


def _table(board: str, table: Table) -> str:
    head = {
        "board": board,
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "columns": table.columns,
        "names": table.names,
        "notes": table.notes,
    }
    rows = ",\n".join(f"  {_dumped([_cell(cell) for cell in row])}" for row in table.rows)
    return f'{_dumped(head)[:-1]}, "rows": [\n{rows}\n]}}'


def _cell(cell: Cell) -> dict[str, Any]:
    marks = {"text": cell_text(cell), "rank": cell.rank, "notes": cell.notes}
    told = {name: mark for name, mark in marks.items() if mark}
    return told if cell.value is None else told | _value(cell.value)


def _value(value: Value) -> dict[str, Any]:
    parts = {
        "mean": _rounded(value.mean),
        "std": _rounded(value.std),
        "interval": None if value.interval is None else [*map(_rounded, value.interval)],
        "n": value.n,
        "planned": value.planned,
        "state": value.state,
        "failed": value.failed,
        "reason": value.reason or None,
        "keys": value.keys,
    }
    return {name: part for name, part in parts.items() if part is not None}


def _rounded(number: Fraction | None) -> float | None:
    return None if number is None else float(round(number, DECIMALS))


def _dumped(value: Any) -> str:
    """Return JSON that is plain ASCII, and inert where a page or a script holds it."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
