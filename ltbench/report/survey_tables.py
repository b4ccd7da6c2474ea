"""The survey's Tables 5, 6 and 7 with our numbers.

Rows and columns are the survey's. The tables are those of its first version (arXiv:2110.04596v1; 4,
5 and 10 of the second). No published number is read here: names of rows are matched to variants by
`reference/names.yaml`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ltbench.analysis.metrics import METRICS, Metric, metrics_in
from ltbench.analysis.published import published_names
from ltbench.analysis.result_set import EMPTY, EstimateState, ResultSet, VariantResult
from ltbench.report.context import ACC, by_network, metric_column
from ltbench.report.table import PERCENT, Cell, Column, Table, TableSpec, build

ROWS: dict[str, tuple[str, ...]] = {
    "Baseline": ("Softmax",),
    "CR": (
        *("Weighted Softmax", "Focal", "LDAM-DRW", "ESQL", "UNO-IC", "Balanced Softmax", "LADE"),
    ),
    "IA": ("SSP", "RSG"),
    "MI": (
        *("OLTR", "PaCo", "De-confound-TDE"),
        *("Decouple-IB-CRT", "Decouple-CB-CRT", "Decouple-SR-CRT", "Decouple-PB-CRT"),
        *("MiSLAS", "BBN", "LFME", "ResLT", "RIDE", "SADE"),
    ),
}
"""Rows of Tables 5 and 6 by type, in the survey's order and by its names."""

TYPES = "CR: class re-balancing, IA: information augmentation, MI: module improvement."

LOSSES = ("Softmax", "Focal", "ESQL", "Balanced Softmax")
"""Losses of Table 7."""

CLASSIFIERS = {"joint": "Joint", "NCM": "NCM", "cRT": "cRT", "LWS": "LWS"}
"""Titles of the classifiers of Table 7 by their names in `reference/names.yaml`."""

REASONS: dict[EstimateState, str] = {
    "missing": "Missing: not run.",
    "failed": "Failed: the last attempt failed.",
    "stale": "Stale: only a record of an older version or of another configuration exists.",
    "empty": "A group without classes, or a metric that the run does not have.",
}
"""Reasons of empty cells; a value that is not available has its own."""


@dataclass(frozen=True)
class SurveyBoards:
    """The boards of one dataset and network, of any grids and recipes."""

    boards: Sequence[ResultSet]

    @cached_property
    def epochs(self) -> dict[str, int]:
        """The number of epochs of each recipe."""
        return {board.recipe.name: board.recipe.stage1.epochs for board in self.boards}

    @cached_property
    def recipes(self) -> list[str]:
        """The names of the recipes, the shortest training first."""
        return sorted(self.epochs, key=lambda name: self.epochs[name])

    @cached_property
    def entries(self) -> dict[tuple[str, str], VariantResult]:
        """The variants by recipe and name; of equal ones the fullest."""
        found: dict[tuple[str, str], VariantResult] = {}
        for board in self.boards:
            for entry in board.entries:
                for name in published_names(entry):
                    place = (board.recipe.name, name)
                    found[place] = max(found.get(place, entry), entry, key=_seeds)
        return found

    def has(self, *names: str) -> bool:
        """Return whether a variant with one of the names exists."""
        return any(name in names for _, name in self.entries)

    def cell(self, recipe: str, name: str, metric: Metric) -> Cell:
        """Return a metric, or an empty cell with its reason."""
        entry = self.entries.get((recipe, name))
        if entry is None:
            grids = dict.fromkeys(b.grid for b in self.boards if b.recipe.name == recipe)
            return Cell(EMPTY, notes=(f"Not in {', '.join(grids)}.",))
        value = entry.values[metric.key]
        return Cell(value, notes=(REASONS[value.state],) if value.state in REASONS else ())

    def remarks(self, name: str) -> tuple[str, ...]:
        """Return the remarks on a row's variants, each once."""
        entries = (self.entries.get((recipe, name)) for recipe in self.recipes)
        return tuple(dict.fromkeys(text for entry in entries if entry for text in entry.remarks))

    def titled(self, title: str, recipe: str) -> str:
        """Return a column's title, with the recipe if there are several."""
        return title if len(self.recipes) == 1 else f"{title}, {recipe}"

    def caption(self, table: str) -> str:
        """Return the setting, and the survey's table whose layout it has."""
        first = self.boards[0]
        recipes = [f"{name}: {self.epochs[name]} epochs" for name in self.recipes]
        seeds = " or ".join(str(n) for n in sorted({len(board.seeds) for board in self.boards}))
        return (
            f"{first.dataset.id}, {first.recipe.network}. "
            f"{', '.join(recipes)}. Rows and "
            f"columns of {table}; the numbers are ours: test accuracy after the last epoch in %, "
            f"mean ± sample standard deviation over seeds (n = {seeds})."
        )


def _seeds(entry: VariantResult) -> tuple[int, int]:
    return entry.values["acc"].n, entry.values["ua"].n


SurveyRow = tuple[str, str]
"""Type and name of a row of Tables 5 and 6."""


def _rows(of: SurveyBoards) -> list[SurveyRow]:
    rows = [(kind, name) for kind, names in ROWS.items() for name in names]
    return rows if of.has(*(name for _, name in rows)) else []


def _column(of: SurveyBoards, recipe: str, metric: Metric) -> Column[SurveyRow]:
    like = metric_column(metric)
    return Column(
        of.titled(metric.title, recipe),
        lambda row: of.cell(recipe, row[1], metric),
        like.kind,
        like.best,
        like.marked,
        always=True,
    )


def _metrics(of: SurveyBoards, metrics: Sequence[Metric]) -> list[Column[SurveyRow]]:
    return [_column(of, recipe, metric) for recipe in of.recipes for metric in metrics]


TYPE: Column[SurveyRow] = Column("Type", lambda row: row[0], caption=TYPES, names=True)

TABLE_5: TableSpec[SurveyBoards, SurveyRow] = TableSpec(
    name="survey table 5",
    title=lambda of: f"{of.boards[0].title}: Table 5 of the survey",
    caption=lambda of: of.caption("its Table 5 (4 of its second version)"),
    columns=lambda of: [
        TYPE,
        Column("Method", lambda row: Cell(row[1], notes=of.remarks(row[1])), names=True),
        *_metrics(of, [METRICS[key] for key in ("acc", "ua", "ra")]),
    ],
    rows=_rows,
)

TABLE_6: TableSpec[SurveyBoards, SurveyRow] = TableSpec(
    name="survey table 6",
    title=lambda of: f"{of.boards[0].title}: Table 6 of the survey",
    caption=lambda of: of.caption("its Table 6 (5 of its second version)"),
    columns=lambda of: [
        TYPE,
        Column("Method", lambda row: row[1], names=True),
        *_metrics(of, metrics_in("groups")),
    ],
    rows=_rows,
)


@dataclass(frozen=True)
class _Loss:
    """A loss of stage 1, and a metric."""

    name: str
    metric: Metric


def _losses(of: SurveyBoards) -> list[_Loss]:
    decoupled = [_decoupled(loss, c) for loss in LOSSES for c in CLASSIFIERS if c != "joint"]
    metrics = [ACC, *metrics_in("groups")] if of.has(*decoupled) else []
    return [_Loss(loss, metric) for metric in metrics for loss in LOSSES]


def _decoupled(loss: str, classifier: str) -> str:
    """Return the published name of a loss with a classifier."""
    return f"{loss} [{classifier}]"


def _classifier(of: SurveyBoards, recipe: str, classifier: str) -> Column[_Loss]:
    return Column(
        of.titled(CLASSIFIERS[classifier], recipe),
        lambda row: of.cell(recipe, _decoupled(row.name, classifier), row.metric),
        PERCENT,
        "highest",
        always=True,
    )


TABLE_7: TableSpec[SurveyBoards, _Loss] = TableSpec(
    name="survey table 7",
    title=lambda of: f"{of.boards[0].title}: Table 7 of the survey",
    caption=lambda of: of.caption("its Table 7 (10 of its second version)"),
    columns=lambda of: [
        Column("Classes", lambda row: "All" if row.metric is ACC else row.metric.title, names=True),
        Column("Loss", lambda row: row.name, names=True),
        *(_classifier(of, recipe, name) for recipe in of.recipes for name in CLASSIFIERS),
    ],
    rows=_losses,
)


def survey_tables(boards: Iterable[ResultSet]) -> list[tuple[str, Table]]:
    """Return each dataset and network's tables, with the dataset's name."""
    tested = [board for board in boards if board.dataset.tested_on == "test"]
    return [
        (group[0].dataset.id, table)
        for group in by_network(tested)
        for table in build([TABLE_5, TABLE_6, TABLE_7], SurveyBoards(group))
    ]
