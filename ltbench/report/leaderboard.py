"""The leaderboard: what the records of the grids say, written as files that are never edited."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ltbench.analysis.result_set import ResultSet
from ltbench.config.planning import Plan
from ltbench.core.files import write_atomically
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.formats import FORMATS, MARKDOWN_TEMPLATES, Inert, escape_html, markdown
from ltbench.report.summary_tables import RECORDS
from ltbench.report.table import build
from ltbench.report.tables import LEADERBOARD_TABLES, grid_tables

GENERATED = Inert("Written by `ltbench leaderboard` from the records; never edited by hand.")

LEGEND = Inert(
    "Best in bold, second underlined, among complete cells. *missing*: not run; *failed*: the last "
    "attempt did; *stale*: a record is there, of an older version of the method or another "
    "configuration; *1/2 seeds*: some are not there yet; *n/a*: not available, the note says why."
)


def write_leaderboard(of: Leaderboard, path: Path) -> Path:
    """Write the whole leaderboard as one markdown file. Equal records give equal bytes."""
    text = MARKDOWN_TEMPLATES.get_template("leaderboard.md").render(
        generated=GENERATED,
        legend=LEGEND,
        tables=build(LEADERBOARD_TABLES, of),
        grids=[_section(plan, found, of) for plan, found in of.grids],
        markdown=lambda table, level: Inert(markdown(table, level)),
    )
    write_atomically(path, f"{text.strip()}\n".encode(), durable=False)
    return path


def write_formats(of: Leaderboard, formats: Collection[str], folder: Path) -> list[Path]:
    """Write a file of tables for each grid and format; return the files."""
    written = []
    for plan, found in of.grids:
        tables = grid_tables(plan, found, of.methods, of.loaded.records)
        for ending in formats:
            path = folder / f"{plan.grid.name}.{ending}"
            write_atomically(path, FORMATS[ending](tables).encode(), durable=False)
            written.append(path)
    return written


def _section(plan: Plan, found: Sequence[ResultSet], of: Leaderboard) -> dict[str, Any]:
    """Return what the template says of a grid."""
    records = of.loaded.records
    tables = [table for _, table in grid_tables(plan, found, of.methods, records)]
    for board in found:
        tables += build([RECORDS], BoardContext(board, of.methods, records))
    done = sum(key in records for key in plan.jobs)
    lost = sum(key in of.failed for key in plan.jobs if key not in records)
    state = f"{done} of {len(plan.jobs)} jobs are done"
    return {
        "anchor": Inert(escape_html(plan.grid.name)),
        "title": plan.grid.title,
        "state": f"{state}, {lost} failed." if lost else f"{state}.",
        "tables": tables,
    }


def update_between_markers(path: Path, marker: str, text: str) -> None:
    """Replace what stands between `<!-- marker:begin -->` and `<!-- marker:end -->` in a file.

    Raises:
        ValueError: if the file does not have each of the two once, in this order.
    """
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    old = path.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{path} needs one {begin} and after it one {end}")
    before, rest = old.split(begin)
    after = rest.split(end)[1]
    new = f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
    if new != old:
        write_atomically(path, new.encode(), durable=False)
