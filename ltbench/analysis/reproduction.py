"""Reproduction of published numbers, row by row.

A row is a variant on a dataset under a recipe: `imagenet_lt/ride/200` is RIDE on ImageNet-LT for
200 epochs. Its published numbers are our published records, and those of the survey and of papers
with the same dataset, network and epochs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.published import OURS, ComparableNumbers, PublishedNumber, comparable
from ltbench.analysis.result_set import Estimate, ResultSet, VariantResult, boards
from ltbench.config.errors import Location, did_you_mean, format_value
from ltbench.config.planning import Plan, PlannedRun
from ltbench.core.exact import measured, root
from ltbench.runs.store import Stored

ReproductionOutcome = Literal["within", "outside", "not run"]


@dataclass(frozen=True)
class PublishedRow:
    """A row with published numbers, and the grid that trains it."""

    name: str
    grid: Plan
    dataset: str
    recipe: str
    label: str
    numbers: tuple[PublishedNumber, ...]

    def plan(self, seeds: Iterable[int] = (), *, balanced: bool = False) -> Plan:
        """Return the part of the grid that trains the row.

        Args:
            seeds: of the grid; by default all.
            balanced: whether to train on the balanced counterpart too.

        Raises:
            ConfigError: for a seed, or a balanced split, that the grid does not have.
        """
        rows = [row for row in self.grid.rows if self._is_mine(row)]
        location, chosen = Location(f"grid {self.grid.grid.name}"), set(seeds)
        if unknown := chosen - {row.seed for row in rows}:
            have = ", ".join(map(str, self.grid.grid.seeds))
            message = f"no seed {min(unknown)}; the grid has {have}"
            raise location.at("seeds").error("unknown-value", message)
        if balanced and all(row.split != "balanced" for row in rows):
            raise location.at("splits").error("unknown-value", f"{self.name} has no balanced split")
        return self.grid.only(
            lambda row: (
                self._is_mine(row)
                and (balanced or row.split == "longtailed")
                and (not chosen or row.seed in chosen)
            )
        )

    def _is_mine(self, row: PlannedRun) -> bool:
        names = (row.dataset.id, row.recipe.name, row.variant.label)
        return names == (self.dataset, self.recipe, self.label) and not row.needed_for_ua


def published_rows(
    plans: Iterable[Plan], published: Mapping[str, Stored]
) -> dict[str, PublishedRow]:
    """Return the rows with published numbers by name, sorted.

    If several grids have a row, the one with most seeds counts, then one with the balanced split.

    Args:
        plans: one per grid.
        published: published records by key.
    """
    rows: dict[str, PublishedRow] = {}
    for plan in sorted(plans, key=lambda p: (-len(p.grid.seeds), "balanced" not in p.grid.splits)):
        for board in boards(plan, published):
            literature = comparable(board)
            for entry in board.entries:
                if numbers := row_numbers(entry, literature):
                    name = row_name(board, entry)
                    names = (board.dataset.id, board.recipe.name, entry.variant.label)
                    rows.setdefault(name, PublishedRow(name, plan, *names, tuple(numbers)))
    return dict(sorted(rows.items()))


def published_row(name: str, rows: Mapping[str, PublishedRow]) -> PublishedRow:
    """Return a row by its name.

    Raises:
        ConfigError: if there is no such row, with the nearest names.
    """
    if name not in rows:
        message = f"no published numbers for a row {format_value(name)} of any grid"
        raise Location("reproduce").error("unknown-value", message, did_you_mean(name, rows))
    return rows[name]


def row_name(board: ResultSet, entry: VariantResult) -> str:
    """Return the name of a row, `dataset/label/epochs[+policy]`."""
    policy = board.recipe.policy.kind
    budget = f"{board.recipe.stage1.epochs}" + ("" if policy == "none" else f"+{policy}")
    label = re.sub(r"[\W_]+", "-", entry.variant.label.lower()).strip("-")
    return f"{board.dataset.id}/{label}/{budget}"


def row_numbers(entry: VariantResult, literature: ComparableNumbers) -> list[PublishedNumber]:
    """Return the published numbers of a row.

    Args:
        entry: of a board, computed from published records alone.
        literature: numbers of papers that are comparable to the board.
    """
    numbers = []
    for metric in METRICS.values():
        value = entry.values[metric.key]
        if metric.published and value.mean is not None:
            numbers.append(PublishedNumber(metric.key, value.mean, OURS, value.std, value.n))
        numbers += literature.of(entry, metric.key, "survey")
        numbers += literature.of(entry, metric.key, "papers")
    return numbers


@dataclass(frozen=True)
class Reproduction:
    """A published number and ours; the tolerance is in points."""

    published: PublishedNumber
    ours: Estimate
    tolerance: Fraction

    @property
    def difference(self) -> Fraction | None:
        """Ours minus published in points, None if not run."""
        return None if self.ours.mean is None else self.ours.mean - self.published.value

    @property
    def outcome(self) -> ReproductionOutcome:
        """Whether the difference is within the tolerance."""
        if self.difference is None:
            return "not run"
        return "within" if abs(self.difference) <= self.tolerance else "outside"


def reproductions(
    published: Iterable[PublishedNumber], entry: VariantResult, tolerance: float
) -> list[Reproduction]:
    """Return the published numbers of a row with ours.

    Args:
        published: numbers of the row.
        entry: the row, computed from our own records.
        tolerance: in points. If the deviation over seeds is known, twice the standard error of the
            difference is within tolerance as well.
    """
    return [
        Reproduction(number, ours, _tolerance(number, ours, measured(tolerance)))
        for number in published
        for ours in (entry.values[number.metric],)
    ]


def _tolerance(published: PublishedNumber, ours: Estimate, tolerance: Fraction) -> Fraction:
    deviations = [std for std in (published.std, ours.std) if std is not None]
    if not deviations or not ours.n:
        return tolerance
    error = max(deviations) * root(Fraction(1, published.n) + Fraction(1, ours.n))
    return max(tolerance, 2 * error)
