"""What verbs print, and the streams that it goes to."""

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
"""Characters that a table may take where no terminal limits it."""

REPORT_WIDTH = 80
"""Characters that a table of results takes there, if it can."""

WRAPPED = 24
"""Characters that a column of longer texts keeps on a terminal."""

GAP = 2
"""Characters between columns."""

SPELLED = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{EN DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{HORIZONTAL ELLIPSIS}": "...",
}
"""Characters of our own output as ASCII has them; the blocks of a histogram are #."""

console = Console(width=None if os.isatty(1) else PIPED_WIDTH)
errors = Console(stderr=True)


class Output(io.FileIO):
    """A stream's file; that nobody reads it any more is a hang-up, and later bytes go nowhere."""

    hung_up = False

    def write(self, data: object) -> int:
        """Write bytes; return how many."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # of a pipe, of a terminal
                raise
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())
        if not Output.hung_up:  # by the other stream
            Output.hung_up = True
            signal.raise_signal(signal.SIGHUP)
        return super().write(data)  # type: ignore[arg-type]


def in_utf8() -> None:
    """Start anew where names of files are not UTF-8, as configurations and keys have them.

    What is printed keeps its encoding. A second time nothing could be better.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        if sys.stdout is not None:
            os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same command


def prepare_streams() -> None:
    """Give this process standard streams that take any text, whatever they are and the locale is.

    Closed ones are opened on nothing. What their encoding lacks is spelled in ASCII.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # which has the lowest number
    codecs.register_error("spell", _spell)
    sys.stdout, sys.stderr = _stream(1, sys.stdout), _stream(2, sys.stderr)


def _stream(number: int, before: TextIO | None) -> TextIO:
    """Return a stream of a file, encoded as the one before; that is None where it was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(Output(number, "w", closefd=False)),
        encoding="utf-8" if before is None else before.encoding,
        errors="spell",
        line_buffering=True,
    )


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Return what an encoding lacks in ASCII, and where to go on: a handler of codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    spelled = (SPELLED.get(c, "#" if "▀" <= c <= "▟" else ascii(c)[1:-1]) for c in text)
    return "".join(spelled), error.end


def print_text(text: str) -> None:
    """Print text as it is, however long its lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print rows of inert text, folded to the terminal's width."""
    from rich.text import Text

    body = [[Text(printable(cell), overflow="fold") for cell in row] for row in rows]
    _print_block([*columns], body, console.width)


def print_report(table: "Table") -> None:
    """Print a table of results under its title, best in bold, second underlined, notes below.

    What is too wide comes in blocks of columns, each with the names of the rows.
    """
    from rich.text import Text

    from ltbench.report.table import cell_text

    styles = ("", "bold", "underline")
    width = console.width if console.is_terminal else REPORT_WIDTH

    def shown(cell: "Cell", column: "Column[Any]") -> Text:
        text = Text(printable(cell_text(cell, column)), style=styles[cell.rank], overflow="fold")
        notes = ",".join(map(str, table.marks(cell)))
        return text + Text(f" [{notes}]") if notes else text

    body = [list(map(shown, row, table.columns)) for row in table.rows]
    needed = [
        _needed(column.title, [row[i] for row in body], wraps=column.kind is None)
        for i, column in enumerate(table.columns)
    ]
    console.print(Text(f"\n{printable(table.title)}", style="bold"), width=width)
    if table.caption:
        console.print(Text(printable(table.caption)), width=width)
    for block in _blocks(needed, table.names, width):
        print_text("")
        _print_block(
            [table.columns[i].title for i in block],
            [[row[i] for i in block] for row in body],
            max(width, sum(needed[i] + GAP for i in block)),
            [table.columns[i].kind is not None for i in block],
        )
    for number, note in enumerate(table.notes, start=1):
        console.print(Text(printable(f"[{number}] {note}")), width=width)


def _needed(title: str, cells: "Sequence[Text]", *, wraps: bool) -> int:
    """Return the characters that a column must have; on a terminal its longer texts are wrapped."""
    longest = max([len(title), *(cell.cell_len for cell in cells)])
    return min(longest, max(len(title), WRAPPED)) if wraps and console.is_terminal else longest


def _blocks(needed: Sequence[int], names: int, width: int) -> list[list[int]]:
    """Return which columns stand beside each other, the first `names` of them in every block."""
    head = list(range(names))
    blocks: list[list[int]] = []
    for i in range(names, len(needed)):
        taken = sum(needed[k] + GAP for k in blocks[-1]) if blocks else width
        if taken + needed[i] > width:
            blocks.append([*head])
        blocks[-1].append(i)
    return blocks


def _print_block(
    titles: Sequence[str],
    rows: "Sequence[Sequence[Text]]",
    width: int,
    numbers: Sequence[bool] | None = None,
) -> None:
    """Print columns side by side; those of numbers are never wrapped."""
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
    """Say which records are set aside, and why."""
    for record in bad:
        message = printable(f"Record {record.place} is set aside: {record.described()}")
        errors.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
