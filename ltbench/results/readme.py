"""What the README shows of records and methods, between its markers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import Plan
from ltbench.results.board import EMPTY, boards
from ltbench.results.findings import Finding, findings_table
from ltbench.results.leaderboard import update_between_markers
from ltbench.results.render import markdown
from ltbench.results.store import Loaded
from ltbench.results.tables import Cell, Table, main_table


def methods_table(methods: Mapping[str, MethodInfo]) -> Table:
    """Return the methods: key, name, paper, category, stages, where their numbers are checked."""
    rows = []
    for key, info in methods.items():
        paper = info.paper
        start = [f"({info.start_from})"] if info.start_from else []
        words = (
            key,
            info.title,
            f"{paper.venue} {paper.year}" if paper else EMPTY,
            info.category,
            " → ".join([*start, *(stage.name for stage in info.stages)]),
            info.oracle or EMPTY,
        )
        rows.append(tuple(map(Cell, words)))
    return Table(
        name="methods",
        title="Methods",
        caption="A stage in brackets is that of the method it starts from unless a grid names "
        "another. Oracle: the file of reference numbers in tests/oracles.",
        columns=("Key", "Method", "Published", "Category", "Stages", "Oracle"),
        rows=tuple(rows),
    )


def refresh_readme(
    readme: Path,
    plans: Sequence[Plan],
    loaded: Loaded,
    methods: Mapping[str, MethodInfo],
    findings: Sequence[Finding] = (),
) -> None:
    """Write the findings, the main tables and the methods into the README.

    Raises:
        ValueError: if the README lacks a marker.
    """
    every = [board for plan in plans for board in boards(plan, loaded.records)]
    tables = [findings_table(findings, every)] if findings else []
    tables += [main_table(board, methods) for board in every]
    text = "\n".join(markdown(table) for table in tables)
    update_between_markers(readme, "leaderboard", text)
    update_between_markers(readme, "methods", markdown(methods_table(methods)))
