"""The README's summary table, and the page of the methods (docs/methods.md)."""

import ast
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path

from ltbench.config.registry import MethodInfo
from ltbench.config.survey import survey_entries
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.evidence import evidence
from ltbench.report.formats import escape_markdown, markdown
from ltbench.report.leaderboard import update_between_markers
from ltbench.report.method_tables import METHODS, SUMMARY, SURVEY, Methods
from ltbench.report.table import build
from ltbench.runs.store import Loaded

PACKAGE = Path(__file__).parent.parent
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
        for key, info in methods.items():
            if info.family == family:
                path = f"ltbench/methods/{family}/{key}.py"
                source = (PACKAGE.parent / path).read_text(encoding="utf-8")
                docstring = ast.get_docstring(ast.parse(source)) or ""
                parts.append(f"### {escape_markdown(info.title)}")
                keys = ", also ".join(f"`{name}`" for name in (key, *info.aliases))
                parts.append(f"Key {keys}, [{path}](../{path})")
                parts.append(f"```text\n{docstring}\n```")
    return "\n\n".join(parts) + "\n"


def published_methods(loaded: Loaded) -> set[str]:
    """Return the keys of the methods with published records."""
    records = loaded.records.values()
    return {stored.record.method for stored in records if stored.provenance == "published"}
