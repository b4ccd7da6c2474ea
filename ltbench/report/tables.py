"""Ordered lists of all tables, for files, terminal and page."""

from collections.abc import Mapping, Sequence
from typing import Any

from ltbench.analysis.result_set import ResultSet, ad_hoc_records
from ltbench.config.planning import Plan
from ltbench.config.registry import MethodInfo
from ltbench.report.board_tables import (
    BY_GROUP_TABLE,
    CALIBRATION_TABLE,
    CLASSES_TABLE,
    DECOUPLING_TABLE,
    MAIN_TABLE,
    MORE_TABLE,
    OPEN_SET_TABLE,
    SHIFTED_TABLE,
)
from ltbench.report.context import BoardContext, Leaderboard, by_network
from ltbench.report.cost_table import COST_TABLE
from ltbench.report.metric_loss_table import METRIC_LOSSES_TABLE
from ltbench.report.paired_tables import PAIRED_TABLE
from ltbench.report.published_tables import PUBLISHED_TABLE
from ltbench.report.summary_tables import (
    AD_HOC_TABLE,
    PROBLEMS_TABLE,
    RANKS_TABLE,
    RECIPES_TABLE,
)
from ltbench.report.table import Table, TableSpec, build
from ltbench.runs.store import Stored

BOARD_TABLES: tuple[TableSpec[BoardContext, Any], ...] = (
    *(
        MAIN_TABLE,
        BY_GROUP_TABLE,
        MORE_TABLE,
        DECOUPLING_TABLE,
        PAIRED_TABLE,
        CALIBRATION_TABLE,
        SHIFTED_TABLE,
        OPEN_SET_TABLE,
        CLASSES_TABLE,
        COST_TABLE,
    ),
    METRIC_LOSSES_TABLE,
    PUBLISHED_TABLE,
)
"""Tables of a board, in order."""

LEADERBOARD_TABLES: tuple[TableSpec[Leaderboard, Any], ...] = (RANKS_TABLE, PROBLEMS_TABLE)
"""Tables over all boards, in order."""


def board_tables(
    board: ResultSet,
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
    *,
    brief: bool = False,
) -> list[Table]:
    """Return the non-empty tables of a board.

    Args:
        board: the numbers.
        methods: of the registry, for categories, years and costs.
        records: valid records by key.
        brief: only the tables that are printed at the end of a run.
    """
    specs = [spec for spec in BOARD_TABLES if spec.brief or not brief]
    return build(specs, BoardContext(board, methods, records))


def recipe_tables(boards: Sequence[ResultSet]) -> list[Table]:
    """Return tables of the datasets and networks with several recipes."""
    groups = [group for group in by_network(boards) if len(group) > 1]
    return [table for group in groups for table in build([RECIPES_TABLE], group)]


def grid_tables(
    plan: Plan,
    boards: Sequence[ResultSet],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
) -> list[tuple[str, Table]]:
    """Return a grid's tables with board names, empty for several boards."""
    tables = [(b.id, table) for b in boards for table in board_tables(b, methods, records)]
    over_boards = [*recipe_tables(boards), *build([AD_HOC_TABLE], ad_hoc_records(plan, records))]
    return [*tables, *(("", table) for table in over_boards)]
