"""DataError: data is missing, damaged or not as configured."""

from collections.abc import Sequence
from typing import Literal

from ltbench.config.errors import CodedError

OnBad = Literal["error", "skip", "report"]
"""Treatment of images that cannot be decoded.

`error`: the build fails and names them. `skip`: training images are left out, and a bad test image
is an error. `report`: they are replaced by black images.
"""


class DataError(CodedError):
    """Data cannot be used; the message lists all problems."""

    code = "missing-data"


def listed(items: Sequence[str], most: int = 10) -> str:
    """Format the first items of a list as indented lines.

    A last line has the number of the others. Items may contain file names: control characters are
    escaped.
    """
    lines = [f"  {printable(item)}" for item in items[:most]]
    if len(items) > most:
        lines.append(f"  and {len(items) - most} more")
    return "\n".join(lines)


def printable(text: str) -> str:
    """Escape the characters of a text that are not printable."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
