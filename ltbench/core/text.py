"""Text that nothing obeys: neither a terminal nor a spreadsheet."""

from typing import Final

FORMULA: Final = (*"=+-@", *(chr(ord(c) + 0xFEE0) for c in "=+-@"))
"""Characters that a spreadsheet takes for the start of a formula, also in full width."""


def plain_text(text: str) -> str:
    """Return a text on one line: no control, direction or other unprintable characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def escape_csv(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    text = plain_text(text)
    return f"'{text}" if text.startswith(FORMULA) else text
