"""The README's summary table, and the page of the methods (docs/methods.md)."""

import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path

from ltbench.config.errors import Location, raise_all
from ltbench.config.registry import OWN_FAMILY, MethodInfo
from ltbench.config.survey import survey_entries
from ltbench.config.yaml_file import display
from ltbench.core.files import write_atomically
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.evidence import evidence
from ltbench.report.formats import escape_markdown, markdown
from ltbench.report.method_tables import (
    METHODS_TABLE,
    SUMMARY_TABLE,
    SURVEY_TABLE,
    Methods,
    definition,
)
from ltbench.report.table import build
from ltbench.runs.store import Loaded

GENERATED = "Written by `make leaderboard`; never edited by hand."

WIDTH = 108
"""Characters of a line."""

PARTS = ("evidence", "leaderboard")
"""Generated parts of the README, each between its markers `<!-- PART:begin -->` and `:end`."""


def check_markers(readme: Path) -> None:
    """Check that a README has both markers of each generated part.

    Raises:
        ConfigError: naming every part whose markers are not there once, in order.
        OSError: if it cannot be read.
    """
    text, location = readme.read_text(encoding="utf-8"), Location(display(readme))
    raise_all(
        location.problem("malformed", f"needs exactly one {begin}, followed by exactly one {end}")
        for begin, end in map(_markers, PARTS)
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end)
    )


def _markers(part: str) -> tuple[str, str]:
    return f"<!-- {part}:begin -->", f"<!-- {part}:end -->"


def refresh_readme(readme: Path, of: Leaderboard) -> None:
    """Write the evidence and the fullest board's summary into the README.

    Raises:
        ConfigError: if the README lacks a marker.
    """
    check_markers(readme)
    boards = [] if of.fullest is None else [of.fullest]
    sources = [BoardContext(board, of.methods, of.loaded.records) for board in boards]
    tables = [table for source in sources for table in build([SUMMARY_TABLE], source)]
    lines = (f"- **{title}**: {text}" for title, text in evidence(of))
    held = [textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines]
    old = new = readme.read_text(encoding="utf-8")
    for part, text in zip(PARTS, ("\n".join(held), "".join(map(markdown, tables))), strict=True):
        new = between_markers(new, part, text)
    if new != old:
        write_atomically(readme, new.encode(), durable=False)


def between_markers(old: str, part: str, new: str) -> str:
    """Return a text with the part between two markers replaced."""
    begin, end = _markers(part)
    before, rest = old.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{new.strip()}\n\n{end}{after}"


def methods_page(methods: Mapping[str, MethodInfo], recorded: Collection[str] = ()) -> str:
    """Return the page of the methods: tables and each file's docstring.

    Args:
        methods: of the registry.
        recorded: keys of the methods with published records.
    """
    tables = [
        *build([METHODS_TABLE], Methods(methods, recorded)),
        *build([SURVEY_TABLE], list(survey_entries())),
    ]
    parts = [
        "# Methods",
        f"{GENERATED} The text of a method is the docstring of its file.",
        "[Docs](README.md)",
        *(markdown(table, level=2).strip() for table in tables),
    ]
    for family in dict.fromkeys(info.family for info in methods.values()):
        parts.append(f"## {family.replace('_', ' ').capitalize()}")
        parts += [_method(info) for info in methods.values() if info.family == family]
    return "\n\n".join(parts) + "\n"


def _method(info: MethodInfo) -> str:
    """Return a method's section; a plugin's has neither link nor text."""
    keys = ", also ".join(f"`{name}`" for name in (info.key, *info.aliases))
    path = f"ltbench/methods/{info.family}/{info.key}.py"
    link = "" if info.family == OWN_FAMILY else f", [{path}](../{path})"
    text = definition(info)
    parts = [f"### {escape_markdown(info.title)}", f"Key {keys}{link}"]
    return "\n\n".join([*parts, f"```text\n{text}\n```"] if text else parts)


def published_methods(loaded: Loaded) -> set[str]:
    """Return the keys of the methods with published records."""
    records = loaded.records.values()
    return {stored.record.method for stored in records if stored.provenance == "published"}
