"""Rows that something is published of, with the part of a grid that trains each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ltbench.analysis.published import PublishedNumber
from ltbench.analysis.reproduction import claims, row_name
from ltbench.analysis.result_set import boards
from ltbench.config.errors import Location, did_you_mean, format_value
from ltbench.config.planning import Plan, PlannedRun
from ltbench.runs.store import Stored


@dataclass(frozen=True)
class PublishedRow:
    """A row of a grid and what is published of it."""

    name: str
    grid: Plan
    dataset: str
    recipe: str
    label: str
    claims: tuple[PublishedNumber, ...]

    def plan(self, seeds: Iterable[int] = (), *, balanced_counterpart: bool = False) -> Plan:
        """Return what trains the row.

        Args:
            seeds: of the grid's; all where none is named.
            balanced_counterpart: whether to train on the balanced counterpart too.

        Raises:
            ConfigError: for a seed, or a balanced_counterpart, that the grid does not have.
        """
        rows = [row for row in self.grid.rows if self._is_mine(row)]
        location, chosen = Location(f"grid {self.grid.grid.name}"), set(seeds)
        if lost := chosen - {row.seed for row in rows}:
            have = ", ".join(map(str, self.grid.grid.seeds))
            raise location.at("seeds").error("unknown-value", f"no seed {min(lost)}; it has {have}")
        if balanced_counterpart and all(row.split != "balanced" for row in rows):
            raise location.at("splits").error("unknown-value", f"{self.name} has no balanced split")
        return self.grid.only(
            lambda row: (
                self._is_mine(row)
                and (balanced_counterpart or row.split == "longtailed")
                and (not chosen or row.seed in chosen)
            )
        )

    def _is_mine(self, row: PlannedRun) -> bool:
        place = (row.dataset.id, row.recipe.name, row.variant.label)
        return place == (self.dataset, self.recipe, self.label) and not row.needed_for_ua


def published_rows(
    plans: Iterable[Plan], published: Mapping[str, Stored]
) -> dict[str, PublishedRow]:
    """Return the rows that something is published of by name, sorted.

    Of grids that share a row the one with most seeds comes first, then one with the balanced split.

    Args:
        plans: one a grid.
        published: published records by key.
    """
    found: dict[str, PublishedRow] = {}
    for plan in sorted(plans, key=lambda p: (-len(p.grid.seeds), "balanced" not in p.grid.splits)):
        for board in boards(plan, published):
            for entry in board.entries:
                name, said = row_name(board, entry), tuple(claims(board, entry))
                place = (board.dataset.id, board.recipe.name, entry.variant.label)
                if said:
                    found.setdefault(name, PublishedRow(name, plan, *place, said))
    return dict(sorted(found.items()))


def published_row(name: str, rows: Mapping[str, PublishedRow]) -> PublishedRow:
    """Return a row by its name.

    Raises:
        ConfigError: where nothing is published under it, with the nearest names.
    """
    if name not in rows:
        message = f"nothing is published of a row {format_value(name)} that a grid has"
        raise Location("reproduce").error("unknown-value", message, did_you_mean(name, rows))
    return rows[name]
