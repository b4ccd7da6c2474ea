"""What verbs print."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from ltbench.data.errors import printable

if TYPE_CHECKING:
    from ltbench.results.store import BadRecord

PIPED_WIDTH = 400
"""Characters that a table may take where no terminal limits it."""

console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
errors = Console(stderr=True)


def print_text(text: str) -> None:
    """Print text as it is, however long its lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table whose cells are text, nothing that a terminal obeys."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    console.print(table)


def print_bad(bad: "Iterable[BadRecord]") -> None:
    """Say which records are set aside, and why."""
    for record in bad:
        message = printable(f"Record {record.place} is set aside: {record.reason}")
        errors.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
