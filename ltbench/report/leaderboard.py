"""The leaderboard: what the records of the grids say, written as files that are never edited."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ltbench.analysis.board import Board, ad_hoc_records, boards
from ltbench.analysis.findings import Finding
from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import Plan
from ltbench.core.files import write_atomically
from ltbench.report.calibration_table import calibration_table
from ltbench.report.classes_table import classes_table
from ltbench.report.cost_table import cost_table
from ltbench.report.findings_table import findings_table
from ltbench.report.paired_tables import paired_table
from ltbench.report.published_table import published_table
from ltbench.report.ranks_table import ranks_table
from ltbench.report.recipes_table import recipes_tables
from ltbench.report.render import csv_text, escape_markdown, latex, markdown
from ltbench.report.render_html import html
from ltbench.report.render_json import json_text
from ltbench.report.tables import (
    Cell,
    Table,
    ad_hoc_table,
    decoupling_table,
    groups_table,
    main_table,
    open_set_table,
    records_table,
    shifts_table,
)
from ltbench.runs.store import BadRecord, Loaded, Stored

GENERATED = "Written by `ltbench leaderboard` from the records; never edited by hand."

LEGEND = (
    "Best in bold, second underlined, among complete cells. *missing*: not run; *failed*: the last "
    "attempt did; *stale*: a record is there, of an older version of the method or another "
    "configuration; *1/2 seeds*: some are not there yet; *n/a*: not available, the note says why."
)


def board_tables(board: Board, methods: Mapping[str, MethodInfo]) -> list[Table]:
    """Return the tables of a board: main, groups, and decoupling where there is any."""
    tables = [main_table(board, methods), groups_table(board)]
    decoupling = decoupling_table(board, methods)
    return tables if decoupling is None else [*tables, decoupling]


def every_table(
    board: Board, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> list[Table]:
    """Return all tables of a board that its records can fill."""
    tables = (
        *board_tables(board, methods),
        paired_table(board, records),
        calibration_table(board, records),
        shifts_table(board, records),
        open_set_table(board, records),
        classes_table(board, records),
        cost_table(board, methods, records),
        published_table(board),
    )
    return [table for table in tables if table is not None]


def write_leaderboard(
    plans: Sequence[Plan],
    loaded: Loaded,
    methods: Mapping[str, MethodInfo],
    out_dir: Path,
    findings: Sequence[Finding] = (),
    failed: Collection[str] = frozenset(),
) -> list[Path]:
    """Write the index, and each grid as markdown, CSV, LaTeX, JSON and HTML tables.

    Equal records give equal bytes.

    Args:
        plans: one a grid.
        loaded: what the record stores hold.
        methods: the catalogue's, for titles, categories and years.
        out_dir: folder of the leaderboard.
        findings: claims to test on every board.
        failed: keys of jobs whose last attempt failed.

    Returns:
        The files, the index first.
    """
    texts: dict[str, str] = {}
    every: list[Board] = []
    for plan in plans:
        found = boards(plan, loaded.records, failed)
        every += found
        tables = [
            (board.id, table)
            for board in found
            for table in every_table(board, methods, loaded.records)
        ]
        tables += [("", table) for table in recipes_tables(found)]
        ad_hoc = ad_hoc_table(ad_hoc_records(plan, loaded.records))
        if ad_hoc is not None:
            tables.append(("", ad_hoc))
        name = plan.grid.name
        texts[f"{name}.md"] = _grid_page(plan, found, tables, loaded.records, failed)
        texts[f"{name}.csv"] = csv_text(tables)
        texts[f"{name}.tex"] = "\n".join(latex(table) for _, table in tables)
        texts[f"{name}.json"] = json_text(tables)
        texts[f"{name}.html"] = "\n".join(html(table) for _, table in tables)
    index = _index(plans, loaded, [findings_table(findings, every), ranks_table(every)])
    texts = {"README.md": index, **texts}
    for name, text in texts.items():
        write_atomically(out_dir / name, text.encode(), durable=False)
    return [out_dir / name for name in texts]


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


def _grid_page(
    plan: Plan,
    found: Sequence[Board],
    tables: Sequence[tuple[str, Table]],
    records: Mapping[str, Stored],
    failed: Collection[str],
) -> str:
    done = sum(key in records for key in plan.jobs)
    lost = sum(key in failed for key in plan.jobs if key not in records)
    state = f"{done} of {len(plan.jobs)} jobs are done" + (f", {lost} failed." if lost else ".")
    parts = [f"# {escape_markdown(plan.grid.title)}\n", f"{GENERATED} {state}\n", f"{LEGEND}\n"]
    parts += [markdown(table, level=2) for _, table in tables]
    parts += [markdown(records_table(board, records), level=2) for board in found]
    return "\n".join(parts)


def _index(plans: Sequence[Plan], loaded: Loaded, tables: Sequence[Table | None]) -> str:
    parts = ["# Leaderboard\n", f"{GENERATED}\n"]
    parts += [markdown(table, level=2) for table in tables if table is not None and table.rows]
    parts.append(markdown(_grids_table(plans, loaded.records), level=2))
    links = (f"- [{escape_markdown(p.grid.title)}]({p.grid.name}.md)\n" for p in plans)
    parts.append("".join(links))
    if loaded.bad:
        parts.append(markdown(_problems_table(loaded.bad), level=2))
    return "\n".join(parts)


def _grids_table(plans: Sequence[Plan], records: Mapping[str, Stored]) -> Table:
    rows = []
    for plan in plans:
        done = sum(key in records for key in plan.jobs)
        words = (plan.grid.title, f"{done} of {len(plan.jobs)}", str(len(plan.grid.seeds)))
        rows.append(tuple(Cell(word) for word in words))
    return Table("grids", "Grids", "", ("Grid", "Jobs done", "Seeds"), tuple(rows))


def _problems_table(bad: Sequence[BadRecord]) -> Table:
    rows = tuple(tuple(map(Cell, (b.provenance, b.place, b.reason))) for b in bad)
    return Table(
        name="problems",
        title="Set aside",
        caption="Files among the records that no table uses.",
        columns=("Store", "File", "Why"),
        rows=rows,
    )
