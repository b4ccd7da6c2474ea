"""A board as a section of the page: headlines, protocol and views."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ltbench.analysis.result_set import EstimateState, ResultSet, ad_hoc_records
from ltbench.config.planning import Plan
from ltbench.config.registry import MethodInfo
from ltbench.report.page.cells import View, view_of
from ltbench.report.page.confusion import Confusion, confusion_of
from ltbench.report.page.headlines import Headline, headlines
from ltbench.report.page.overview import OVERVIEW_TABLE, BoardSummary
from ltbench.report.summary_tables import AD_HOC_TABLE, RECORDS_TABLE
from ltbench.report.table import Table, build
from ltbench.report.tables import BOARD_TABLES
from ltbench.runs.store import Stored

TITLES = {
    "overview": "Main",
    "main": "Acc, UA, RA",
    "groups": "Shots",
    "metrics": "More metrics",
    "paired": "Paired tests",
    "shifts": "Label shift",
}
"""Titles of views by table name; by default the capitalized name."""

STATES: tuple[EstimateState, ...] = ("complete", "partial", "failed", "stale", "missing")


@dataclass(frozen=True)
class BoardView:
    """A board on the page.

    Attributes:
        summary: the board relative to softmax.
        key: in URLs; `anchor` is the id of the element.
        facets: settings that the page filters boards by.
        protocol: settings of all its numbers.
        counts: number of variants by state.
        headlines: sentences above the tables.
        views: its tables, the overview first.
        confusion: confusion counts, if its records have any.
    """

    summary: BoardSummary
    key: str
    anchor: str
    title: str
    facets: dict[str, str]
    protocol: tuple[str, ...]
    counts: dict[EstimateState, int]
    headlines: tuple[Headline, ...]
    views: tuple[View, ...]
    confusion: Confusion | None

    @property
    def board(self) -> ResultSet:
        """The board itself."""
        return self.summary.board

    @property
    def overview(self) -> View:
        """The default view."""
        return self.views[0]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The index of each variant in the grid, by label."""
        return {entry.variant.label: i for i, entry in enumerate(self.board.entries)}


def board_view(
    board: ResultSet,
    plan: Plan,
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
) -> BoardView:
    """Return a board as a section of the page.

    Args:
        board: the numbers.
        plan: of its grid.
        methods: of the registry.
        records: valid records by key.
    """
    dataset, recipe = board.dataset, board.recipe
    summary = BoardSummary(board, methods, records)
    counts = Counter(entry.values["acc"].state for entry in board.entries)
    return BoardView(
        summary=summary,
        key=f"{board.grid}/{dataset.id}/{recipe.name}",
        anchor=f"g-{board.grid}-{dataset.id}-{recipe.name}",
        title=f"{board.title}, {recipe.title}",
        facets={
            "Dataset": dataset.title,
            "Ratio": "natural"
            if dataset.imbalance_ratio is None
            else f"{dataset.imbalance_ratio:g}",
            "Network": recipe.network,
            "Epochs": str(recipe.stage1.epochs),
            "Recipe": recipe.name,
            "Grid": board.grid,
        },
        protocol=_protocol(board, records),
        counts={state: counts[state] for state in STATES if counts[state]},
        headlines=tuple(headlines(summary)),
        views=tuple(_views(summary, plan)),
        confusion=confusion_of(summary),
    )


def _views(of: BoardSummary, plan: Plan) -> list[View]:
    names = (of.board.dataset.id, of.board.recipe.name)
    ad_hoc = [
        record
        for record in ad_hoc_records(plan, of.records)
        if (record.job.dataset.id, record.job.recipe_name) == names
    ]
    tables = [
        *build([OVERVIEW_TABLE], of),
        *build(BOARD_TABLES, of),
        *build([AD_HOC_TABLE], ad_hoc),
    ]
    views = [_view(table, of) for table in tables]
    return [*views, *(_view(t, of, _links(of.records)) for t in build([RECORDS_TABLE], of))]


def _view(table: Table, of: BoardSummary, links: Mapping[str, str] | None = None) -> View:
    titles = TITLES if of.has_ra else {**TITLES, "main": "Acc"}
    title = titles.get(table.name, table.name.capitalize())
    return view_of(table, title, of.entries, links, seeds="Seeds" not in table.titles)


def _protocol(board: ResultSet, records: Mapping[str, Stored]) -> tuple[str, ...]:
    """Return the settings of all numbers of a board."""
    dataset, recipe = board.dataset, board.recipe
    settings = [
        f"{dataset.id}, {dataset.classes} classes",
        recipe.network,
        f"{recipe.stage1.epochs} epochs",
        f"batch size {recipe.batch_size}",
        "last epoch",
        f"{len(board.seeds)} seed{'s' * (len(board.seeds) != 1)}",
    ]
    first = next((key for e in board.entries for key in e.values["acc"].keys), None)
    if first is not None:
        split = records[first].record.split
        settings.insert(1, f"{sum(split.longtailed_counts):,} images")
        settings.append(f"split {split.train_hash[:6]}")
    return tuple(settings)


def _links(records: Mapping[str, Stored]) -> dict[str, str]:
    """Return URLs of published records by name, relative to `results/leaderboard`."""
    return {
        stored.name: f"../records/{stored.name}"
        for stored in records.values()
        if stored.provenance == "published"
    }
