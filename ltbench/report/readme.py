"""What the README shows of records, and the page of the methods: written, never edited."""

import ast
from collections.abc import Collection, Mapping
from pathlib import Path

from ltbench.config.registry import MethodInfo
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.formats import escape_markdown, markdown
from ltbench.report.leaderboard import update_between_markers
from ltbench.report.method_tables import CHOICE, METHODS, Methods
from ltbench.report.table import build
from ltbench.runs.store import Loaded

PACKAGE = Path(__file__).parent.parent
GENERATED = "Written by `make leaderboard`; never edited by hand."

OTHER_TASKS = """\
The suite classifies single images. What the survey names of other tasks is left out: FrameStack
(videos), LST (incremental instance segmentation), DT2 (scene graphs) and UD (objects without
labels), and of its datasets LVIS (detection and segmentation), VOC-LT and COCO-LT (several labels
an image) and VideoLT (videos)."""


def refresh_readme(readme: Path, of: Leaderboard) -> None:
    """Write into the README what to choose by the board with the most variants measured.

    Raises:
        ValueError: if the README lacks a marker.
    """
    fullest = [] if of.fullest is None else [of.fullest]
    sources = [BoardContext(board, of.methods, of.loaded.records) for board in fullest]
    tables = [table for source in sources for table in build([CHOICE], source)]
    update_between_markers(readme, "leaderboard", "".join(map(markdown, tables)))


def methods_page(methods: Mapping[str, MethodInfo], recorded: Collection[str] = ()) -> str:
    """Return the page of the methods: a table, then each with the equations that open its file.

    Args:
        methods: those of the registry.
        recorded: keys of the methods that have published records.
    """
    parts = [
        "# Methods",
        f"{GENERATED} The text of a method is the head of its file.",
        "[Docs](README.md)",
        *(markdown(t, level=2).strip() for t in build([METHODS], Methods(methods, recorded))),
    ]
    for family in dict.fromkeys(info.family for info in methods.values()):
        parts.append(f"## {family.replace('_', ' ').capitalize()}")
        for key, info in methods.items():
            if info.family == family:
                place = f"ltbench/methods/{family}/{key}.py"
                source = (PACKAGE.parent / place).read_text(encoding="utf-8")
                said = ast.get_docstring(ast.parse(source)) or ""
                parts.append(f"### {escape_markdown(info.title)}")
                keys = ", also ".join(f"`{name}`" for name in (key, *info.aliases))
                parts.append(f"Key {keys}, [{place}](../{place})")
                parts.append(f"```text\n{said}\n```")
    parts += ["## Other tasks", OTHER_TASKS]
    return "\n\n".join(parts) + "\n"


def published_methods(loaded: Loaded) -> set[str]:
    """Return the keys of the methods that have published records."""
    found = loaded.records.values()
    return {stored.record.method for stored in found if stored.provenance == "published"}
