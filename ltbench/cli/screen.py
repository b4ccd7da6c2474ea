"""Output of verbs: text, tables, and the standard streams."""

import codecs
import errno
import io
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from rich.console import Console

from ltbench.data.errors import printable

if TYPE_CHECKING:
    from rich.text import Text

    from ltbench.report.table import Cell, Column, Table
    from ltbench.runs.store import BadRecord

PIPED_WIDTH = 400
"""Most characters of a table without a terminal."""

REPORT_WIDTH = 80
"""Characters of a table of results without a terminal, if it fits."""

MIN_WRAPPED_WIDTH = 24
"""Fewest characters of a text column that is wrapped on a terminal."""

GAP = 2
"""Characters between columns."""

ASCII = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{EN DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{HORIZONTAL ELLIPSIS}": "...",
}
"""ASCII replacements of characters in our output; blocks of a histogram become #."""

console = Console(width=None if os.isatty(1) else PIPED_WIDTH)
errors = Console(stderr=True)


class Output(io.FileIO):
    """A standard stream that raises SIGHUP when its reader is gone.

    Later output is discarded.
    """

    hung_up = False

    def write(self, data: object) -> int:
        """Write bytes; return their number."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # pipe, terminal
                raise
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())
        if not Output.hung_up:  # by the other stream
            Output.hung_up = True
            signal.raise_signal(signal.SIGHUP)
        return super().write(data)  # type: ignore[arg-type]


def ensure_utf8() -> None:
    """Restart Python in UTF-8 mode if file names are not UTF-8.

    Output keeps its encoding. Restarts at most once.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        if sys.stdout is not None:
            os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same command


def prepare_streams() -> None:
    """Replace the standard streams by ones that accept any text.

    Closed streams are opened on /dev/null. Characters missing in the encoding become ASCII.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number
    codecs.register_error("ascii", _to_ascii)
    sys.stdout, sys.stderr = _stream(1, sys.stdout), _stream(2, sys.stderr)


def _stream(number: int, before: TextIO | None) -> TextIO:
    """Return a standard stream, in the encoding of the one before."""
    return io.TextIOWrapper(
        io.BufferedWriter(Output(number, "w", closefd=False)),
        encoding="utf-8" if before is None else before.encoding,
        errors="ascii",
        line_buffering=True,
    )


def _to_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace unencodable characters by ASCII: an error handler of codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    replaced = (ASCII.get(c, "#" if "▀" <= c <= "▟" else ascii(c)[1:-1]) for c in text)
    return "".join(replaced), error.end


def print_text(text: str) -> None:
    """Print text without markup and line wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table of plain text, folded to the terminal's width."""
    from rich.text import Text

    body = [[Text(printable(cell), overflow="fold") for cell in row] for row in rows]
    _print_block([*columns], body, console.width)


def print_report(table: "Table") -> None:
    """Print a table of results, the best in bold, the second underlined.

    A table that is too wide is split into blocks of columns, each with the row names.
    """
    from rich.text import Text

    from ltbench.report.table import cell_text

    styles = ("", "bold", "underline")
    width = console.width if console.is_terminal else REPORT_WIDTH

    def styled(cell: "Cell", column: "Column[Any]") -> Text:
        text = Text(printable(cell_text(cell, column)), style=styles[cell.rank], overflow="fold")
        notes = ",".join(map(str, table.marks(cell)))
        return text + Text(f" [{notes}]") if notes else text

    body = [list(map(styled, row, table.columns)) for row in table.rows]
    widths = [
        _min_width(column.title, [row[i] for row in body], wraps=column.kind is None)
        for i, column in enumerate(table.columns)
    ]
    console.print(Text(f"\n{printable(table.title)}", style="bold"), width=width)
    if table.caption:
        console.print(Text(printable(table.caption)), width=width)
    for block in _blocks(widths, table.names, width):
        print_text("")
        _print_block(
            [table.columns[i].title for i in block],
            [[row[i] for i in block] for row in body],
            max(width, sum(widths[i] + GAP for i in block)),
            [table.columns[i].kind is not None for i in block],
        )
    for number, note in enumerate(table.notes, start=1):
        console.print(Text(printable(f"[{number}] {note}")), width=width)


def _min_width(title: str, cells: "Sequence[Text]", *, wraps: bool) -> int:
    """Return a column's minimum width; on a terminal texts are wrapped."""
    longest = max([len(title), *(cell.cell_len for cell in cells)])
    return (
        min(longest, max(len(title), MIN_WRAPPED_WIDTH))
        if wraps and console.is_terminal
        else longest
    )


def _blocks(widths: Sequence[int], names: int, width: int) -> list[list[int]]:
    """Split columns into blocks; the first `names` columns are in every block."""
    head = list(range(names))
    blocks: list[list[int]] = []
    for i in range(names, len(widths)):
        taken = sum(widths[k] + GAP for k in blocks[-1]) if blocks else width
        if taken + widths[i] > width:
            blocks.append([*head])
        blocks[-1].append(i)
    return blocks


def _print_block(
    titles: Sequence[str],
    rows: "Sequence[Sequence[Text]]",
    width: int,
    numbers: Sequence[bool] | None = None,
) -> None:
    """Print columns side by side; columns of numbers are never wrapped."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    block = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for title, number in zip(titles, numbers or [False] * len(titles), strict=True):
        justify: Literal["left", "right"] = "right" if number else "left"
        block.add_column(Text(printable(title)), justify=justify, no_wrap=number)
    for row in rows:
        block.add_row(*row)
    console.print(block, width=width)


def print_bad(bad: "Iterable[BadRecord]") -> None:
    """Warn of bad records, with the reason."""
    for record in bad:
        print_warning(printable(f"Record {record.path} is ignored: {record.described()}"))


def print_warning(text: str) -> None:
    """Print a warning to stderr, as it is."""
    errors.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
