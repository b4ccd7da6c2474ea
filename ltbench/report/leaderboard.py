"""The leaderboard as generated markdown and table files."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ltbench.analysis.agreement import comparable_runs
from ltbench.analysis.result_set import ResultSet
from ltbench.config.planning import Plan
from ltbench.core.files import write_atomically
from ltbench.core.garbage import gc_paused
from ltbench.report.agreement_tables import agreement_tables
from ltbench.report.board_tables import MAIN_TABLE
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.formats import FORMATS, MARKDOWN_TEMPLATES, Inert, markdown
from ltbench.report.summary_tables import (
    RECORDS_TABLE,
    board_names,
    findings_caption,
    tested_findings,
)
from ltbench.report.table import Table, build
from ltbench.report.tables import LEADERBOARD_TABLES, grid_tables

GENERATED = Inert("Written by `ltbench leaderboard` from the records; never edited by hand.")

LEGEND = Inert(
    "Best in bold, second underlined, among complete cells. *missing*: not run; *failed*: the last "
    "attempt failed; *stale*: only a record of an older version of the method or of another "
    "configuration exists; *1/2 seeds*: one of two seeds has run; *n/a*: not available, for the "
    "reason in the note."
)


GRIDS = "grids"
"""Folder of the grids' files, beside the leaderboard."""


@gc_paused()
def write_leaderboard(of: Leaderboard, path: Path) -> list[Path]:
    """Write the leaderboard and a markdown file per grid; return the paths.

    Equal records make equal bytes.
    """
    grids = [_section(plan, boards, of) for plan, boards in of.grids]
    index = _rendered(
        "leaderboard.md",
        grids=grids,
        headline=_headline(of),
        findings=tested_findings(of),
        findings_caption=findings_caption(of),
        board_names=board_names,
        tables=[*build(LEADERBOARD_TABLES, of), *_agreement(of)],
    )
    texts = {path: index}
    texts |= {path.parent / grid["file"]: _rendered("grid.md", grid=grid) for grid in grids}
    for each, text in texts.items():
        write_atomically(each, f"{text.strip()}\n".encode(), durable=False)
    return list(texts)


def _rendered(template: str, **values: Any) -> str:
    return MARKDOWN_TEMPLATES.get_template(template).render(
        generated=GENERATED,
        legend=LEGEND,
        markdown=lambda table, level: Inert(markdown(table, level)),
        **values,
    )


@gc_paused()
def write_formats(of: Leaderboard, formats: Collection[str], folder: Path) -> list[Path]:
    """Write the tables of each grid in each format; return the paths."""
    written = []
    for plan, boards in of.grids:
        tables = grid_tables(plan, boards, of.methods, of.loaded.records)
        for extension in formats:
            path = folder / f"{plan.grid.name}.{extension}"
            write_atomically(path, FORMATS[extension](tables).encode(), durable=False)
            written.append(path)
    return written


def _headline(of: Leaderboard) -> list[Table]:
    """Return the main table of the board with most results, if any."""
    if of.fullest is None:
        return []
    return build([MAIN_TABLE], BoardContext(of.fullest, of.methods, of.loaded.records))


def _agreement(of: Leaderboard) -> list[Table]:
    """Return the tables of agreement, of the records of the leaderboard's grids."""
    planned = {key for plan, _ in of.grids for key in plan.jobs}
    stored = {key: each for key, each in of.loaded.records.items() if key in planned}
    return agreement_tables(comparable_runs(stored))


def _section(plan: Plan, boards: Sequence[ResultSet], of: Leaderboard) -> dict[str, Any]:
    """Return the templates' variables of a grid."""
    records = of.loaded.records
    tables = [table for _, table in grid_tables(plan, boards, of.methods, records)]
    for board in boards:
        tables += build([RECORDS_TABLE], BoardContext(board, of.methods, records))
    done = sum(key in records for key in plan.jobs)
    failed = sum(key in of.failed for key in plan.jobs if key not in records)
    state = f"{done} of {len(plan.jobs)} jobs are done"
    return {
        "file": Inert(f"{GRIDS}/{plan.grid.name}.md"),
        "title": plan.grid.title,
        "state": f"{state}, {failed} failed." if failed else f"{state}.",
        "tables": tables,
    }
