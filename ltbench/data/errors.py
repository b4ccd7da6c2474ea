"""The error of data that is missing, damaged or not what the configuration says."""

from collections.abc import Sequence
from typing import Literal

from ltbench.config.errors import CodedError

OnBad = Literal["error", "skip", "report"]
"""What becomes of images that cannot be decoded.

The build fails and names them (`error`); training images are left out, while a bad test image is an
error all the same (`skip`); or they stand as black images (`report`).
"""


class DataError(CodedError):
    """Data cannot be used; the message says what is wrong and where, all of it."""

    code = "missing-data"


def listed(items: Sequence[str], most: int = 10) -> str:
    """Return the first items, one an indented line, and how many more there are.

    Items may hold names of files: characters that a terminal could obey are escaped.
    """
    lines = [f"  {printable(item)}" for item in items[:most]]
    if len(items) > most:
        lines.append(f"  and {len(items) - most} more")
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return text with every character escaped that does not print."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
