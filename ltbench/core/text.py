"""Text that is safe to show in a terminal or a spreadsheet."""

from typing import Final

FORMULA: Final = (*"=+-@", *(chr(ord(c) + 0xFEE0) for c in "=+-@"))
"""First characters of a formula in a spreadsheet, also in full width."""


def plain_text(text: str) -> str:
    """Return a text on one line, without unprintable characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def escape_csv(text: str) -> str:
    """Return a text that no spreadsheet reads as a formula."""
    text = plain_text(text)
    return f"'{text}" if text.startswith(FORMULA) else text
