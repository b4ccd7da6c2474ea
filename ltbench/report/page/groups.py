"""A board as a section of the page: what its numbers share, its views, its state."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from ltbench.analysis.beside_softmax import RelativeCost, relative_costs
from ltbench.analysis.board import Board, State, ad_hoc_records
from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import Plan
from ltbench.report.leaderboard import every_table
from ltbench.report.page.cells import Line, Shown, View, columns, is_ranked, percent, view_of
from ltbench.report.page.overview import answers, overview
from ltbench.report.tables import ad_hoc_table
from ltbench.runs.store import Stored

VIEWS = {
    "main": ("accuracy", "Acc, UA, RA"),
    "groups": ("shots", "Shots"),
    "paired": ("paired", "Paired tests"),
    "shifts": ("shifted", "Shifted tests"),
}
"""Key and title of tables as views; others go by their own name."""

STATES: dict[State, str] = {
    "complete": "complete",
    "partial": "partial",
    "failed": "failed",
    "stale": "stale",
    "missing": "not run",
}


@dataclass(frozen=True)
class Count:
    """How many variants of a group are in a state."""

    state: State
    words: str
    n: int


@dataclass(frozen=True)
class Group:
    """A board on the page.

    Attributes:
        key: in addresses; `anchor` is the element's id.
        facets: what tells groups apart, by name.
        protocol: what all its numbers share.
        counts: variants by state, only states that there are.
        answers: sentences, each a row of texts and names.
        costs: training cost over softmax's, by label.
    """

    board: Board
    key: str
    anchor: str
    title: str
    facets: dict[str, str]
    protocol: tuple[str, ...]
    counts: tuple[Count, ...]
    answers: tuple[tuple[Shown, ...], ...]
    views: tuple[View, ...]
    costs: dict[str, RelativeCost]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Each variant's place in the grid, by label."""
        return {entry.variant.label: i for i, entry in enumerate(self.board.entries)}


def group_of(
    board: Board,
    plan: Plan,
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
) -> Group:
    """Return a board as a group.

    Args:
        board: its numbers.
        plan: of its grid.
        methods: the catalogue's.
        records: sound records by key.
    """
    dataset, recipe = board.dataset, board.recipe
    costs = relative_costs(board, methods, records)
    found = Counter(entry.values["acc"].state for entry in board.entries)
    return Group(
        board=board,
        key=f"{board.grid}/{dataset.id}/{recipe.name}",
        anchor=f"g-{board.grid}-{dataset.id}-{recipe.name}",
        title=f"{board.title}, {recipe.title}",
        facets={
            "Dataset": dataset.title,
            "Ratio": "natural" if dataset.ratio is None else f"{dataset.ratio:g}",
            "Network": recipe.network,
            "Epochs": str(recipe.first.epochs),
            "Recipe": recipe.name,
            "Grid": board.grid,
        },
        protocol=_protocol(board, records),
        counts=tuple(Count(s, words, found[s]) for s, words in STATES.items() if found[s]),
        answers=tuple(answers(board, costs, records)),
        views=tuple(_views(board, plan, costs, methods, records)),
        costs=costs,
    )


def _views(
    board: Board,
    plan: Plan,
    costs: Mapping[str, RelativeCost],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
) -> list[View]:
    mine = (board.dataset.id, board.recipe.name)
    tables = every_table(board, methods, records)
    ad_hoc = ad_hoc_table(
        [
            record
            for record in ad_hoc_records(plan, records)
            if (record.job.dataset.id, record.job.recipe_name) == mine
        ]
    )
    if ad_hoc is not None:
        tables.append(ad_hoc)
    views = [
        view_of(table, *VIEWS.get(table.name, _named(table.name)), board.entries)
        for table in tables
        if table.rows
    ]
    main, groups, *_ = tables
    return [overview(board, main, groups, costs, records), *views, _evidence(board, records)]


def _named(table: str) -> tuple[str, str]:
    return table.replace(" ", "-"), table.capitalize()


def _protocol(board: Board, records: Mapping[str, Stored]) -> tuple[str, ...]:
    """Return what all numbers of a board share, and the split that they were measured on."""
    dataset, recipe = board.dataset, board.recipe
    words = [
        f"{dataset.id}, {dataset.classes} classes",
        recipe.network,
        f"{recipe.first.epochs} epochs",
        f"batch {recipe.batch}",
        "last epoch",
        f"{len(board.seeds)} seed{'s' * (len(board.seeds) != 1)}",
    ]
    first = next((key for e in board.entries for key in e.values["acc"].keys), None)
    if first is not None:
        split = records[first].record.split
        words.insert(1, f"{sum(split.longtailed_counts):,} images")
        words.append(f"split {split.train_hash[:6]}")
    return tuple(words)


def _evidence(board: Board, records: Mapping[str, Stored]) -> View:
    """Return the record behind every accuracy, with when and where it was made."""
    lines: list[Line] = []
    for entry in board.entries:
        for key in entry.values["acc"].keys:
            stored = records[key]
            record, job = stored.record, stored.record.job
            accuracy = 100 * (record.accuracy or Fraction(0))
            lines.append(
                Line(
                    (
                        Shown(entry.variant.label),
                        Shown(str(job.seed), sort=Fraction(job.seed)),
                        Shown(percent(accuracy), sort=accuracy),
                        Shown(f"v{job.version}"),
                        Shown(record.environment.finished.date().isoformat()),
                        Shown(record.environment.hardware),
                        Shown(record.split.train_hash[:6]),
                        Shown(stored.provenance),
                        Shown(record.key, href=_link(stored)),
                    ),
                    entry,
                )
            )
    titles = ("Method", "Seed", "Acc", "Version", "Date", "Hardware", "Split", "Store", "Record")
    return View(
        key="evidence",
        title="Evidence",
        caption="The record of every run. Its key is a hash of all that can change the number.",
        columns=tuple(columns(titles, lines, low=("Seed",))),
        ranked=tuple(lines),
        sortable=True,
    )


def _link(stored: Stored) -> str | None:
    """Return the address of a published record: the page lies in `results/leaderboard`."""
    return f"../records/{stored.place}" if stored.provenance == "published" else None


def default_group(groups: Sequence[Group]) -> Group | None:
    """Return the group that the page opens with: the one with most methods that are complete."""

    def complete(group: Group) -> int:
        return len({e.variant.method for e in group.board.entries if is_ranked(e)})

    return max(groups, key=complete, default=None)
