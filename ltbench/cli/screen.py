"""What verbs print, and the streams that it goes to."""

import codecs
import errno
import io
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from ltbench.data.errors import printable

if TYPE_CHECKING:
    from ltbench.runs.store import BadRecord

PIPED_WIDTH = 400
"""Characters that a table may take where no terminal limits it."""

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
        message = printable(f"Record {record.place} is set aside: {record.described()}")
        errors.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
