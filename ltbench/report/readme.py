"""The README's summary table, and the page of the methods (docs/methods.md)."""

import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path

from ltbench.config.registry import OWN, MethodInfo
from ltbench.config.survey import survey_entries
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.evidence import evidence
from ltbench.report.formats import escape_markdown, markdown
from ltbench.report.leaderboard import update_between_markers
from ltbench.report.method_tables import METHODS, SUMMARY, SURVEY, Methods, definition
from ltbench.report.table import build
from ltbench.runs.store import Loaded

GENERATED = "Written by `make leaderboard`; never edited by hand."

WIDTH = 108
"""Characters of a line."""


def refresh_readme(readme: Path, of: Leaderboard) -> None:
    """Write the evidence and the fullest board's summary into the README.

    Raises:
        ValueError: if the README lacks a marker.
    """
    boards = [] if of.fullest is None else [of.fullest]
    sources = [BoardContext(board, of.methods, of.loaded.records) for board in boards]
    tables = [table for source in sources for table in build([SUMMARY], source)]
    lines = (f"- **{title}**: {text}" for title, text in evidence(of))
    held = [textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines]
    update_between_markers(readme, "evidence", "\n".join(held))
    update_between_markers(readme, "leaderboard", "".join(map(markdown, tables)))


def methods_page(methods: Mapping[str, MethodInfo], recorded: Collection[str] = ()) -> str:
    """Return the page of the methods: tables and each file's docstring.

    Args:
        methods: of the registry.
        recorded: keys of the methods with published records.
    """
    tables = [
        *build([METHODS], Methods(methods, recorded)),
        *build([SURVEY], list(survey_entries())),
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
    """Return the section of a method; a plugin's has neither link nor text."""
    keys = ", also ".join(f"`{name}`" for name in (info.key, *info.aliases))
    path = f"ltbench/methods/{info.family}/{info.key}.py"
    link = "" if info.family == OWN else f", [{path}](../{path})"
    text = definition(info)
    parts = [f"### {escape_markdown(info.title)}", f"Key {keys}{link}"]
    return "\n\n".join([*parts, f"```text\n{text}\n```"] if text else parts)


def published_methods(loaded: Loaded) -> set[str]:
    """Return the keys of the methods with published records."""
    records = loaded.records.values()
    return {stored.record.method for stored in records if stored.provenance == "published"}
