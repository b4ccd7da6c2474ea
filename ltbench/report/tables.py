"""Ordered lists of all tables, for files, the terminal and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from ltbench.analysis.result_set import ResultSet, ad_hoc_records
from ltbench.config.planning import Plan
from ltbench.config.registry import MethodInfo
from ltbench.report.board_tables import (
    BY_GROUP,
    CALIBRATION,
    CLASSES,
    DECOUPLING,
    MAIN,
    MORE,
    OPEN_SET,
    SHIFTED,
)
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.cost_table import COST
from ltbench.report.paired_tables import PAIRED
from ltbench.report.published_tables import PUBLISHED
from ltbench.report.summary_tables import (
    AD_HOC,
    FINDINGS,
    GRIDS,
    PROBLEMS,
    RANKS,
    RECIPES,
)
from ltbench.report.table import Table, TableSpec, build
from ltbench.runs.store import Stored

BOARD_TABLES: tuple[TableSpec[BoardContext, Any], ...] = (
    *(MAIN, BY_GROUP, MORE, DECOUPLING, PAIRED, CALIBRATION, SHIFTED, OPEN_SET, CLASSES, COST),
    PUBLISHED,
)
"""Of a board."""

LEADERBOARD_TABLES: tuple[TableSpec[Leaderboard, Any], ...] = (FINDINGS, RANKS, GRIDS, PROBLEMS)
"""Of all boards together."""


def board_tables(
    board: ResultSet,
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
    *,
    brief: bool = False,
) -> list[Table]:
    """Return the tables of a board that its records can fill.

    Args:
        board: its numbers.
        methods: the registry's, for categories, years and costs.
        records: sound records by key.
        brief: only those that a run prints when it ends.
    """
    specs = [spec for spec in BOARD_TABLES if spec.brief or not brief]
    return build(specs, BoardContext(board, methods, records))


def recipe_tables(boards: Sequence[ResultSet]) -> list[Table]:
    """Return a table for each dataset and network that several boards of a grid have."""
    beside: dict[tuple[str, str], list[ResultSet]] = {}
    for board in boards:
        beside.setdefault((board.dataset.id, board.recipe.network), []).append(board)
    return [t for found in beside.values() if len(found) > 1 for t in build([RECIPES], found)]


def grid_tables(
    plan: Plan,
    boards: Sequence[ResultSet],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
) -> list[tuple[str, Table]]:
    """Return a grid's tables, each with its board's name, empty for several."""
    tables = [(b.id, table) for b in boards for table in board_tables(b, methods, records)]
    over_boards = [*recipe_tables(boards), *build([AD_HOC], ad_hoc_records(plan, records))]
    return [*tables, *(("", table) for table in over_boards)]
