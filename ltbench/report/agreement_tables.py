"""Tables of `ltbench agreement`: both orders of methods, and how far they agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ltbench.analysis.agreement import (
    FEWEST,
    Agreement,
    ReferenceTable,
    agreement,
    noise_interval,
)
from ltbench.analysis.statistics import summarize
from ltbench.core.exact import fixed, mean
from ltbench.report.table import COUNT, PERCENT, POINTS, RANK, Column, TableSpec


@dataclass(frozen=True)
class Compared:
    """Our accuracies on the rows of a published table.

    Attributes:
        title: of our board.
        scores: accuracies in percent by published name, one a seed.
    """

    table: ReferenceTable
    title: str
    scores: dict[str, list[Fraction]]

    @property
    def published(self) -> dict[str, Fraction]:
        """The published accuracies of the rows that we have."""
        names = (row.published for row in self.table.rows)
        both = zip(names, self.table.accuracies(self.table.imbalance_ratio), strict=True)
        return {name: value for name, value in both if name in self.scores}

    @property
    def agreement(self) -> Agreement | None:
        """How far the orders agree; None for too few rows."""
        if len(self.scores) < FEWEST:
            return None
        return agreement([*self.published.values()], [*self.scores.values()])


def _gain(of_one: Fraction, baseline: Fraction | None) -> Fraction | None:
    return None if baseline is None else of_one - baseline


def _columns(of: Compared) -> list[Column[str]]:
    baseline = of.table.rows[0].published
    theirs, ours = of.published, {name: mean(each) for name, each in of.scores.items()}
    return [
        Column("Method", lambda name: name, names=True),
        Column("Published", lambda name: theirs[name], PERCENT),
        Column("Gain", lambda name: _gain(theirs[name], theirs.get(baseline)), POINTS),
        Column("Ours", lambda name: ours[name], PERCENT),
        Column("Std", lambda name: summarize(of.scores[name]).std, PERCENT),
        Column("Our gain", lambda name: _gain(ours[name], ours.get(baseline)), POINTS),
    ]


BOTH: TableSpec[Compared, str] = TableSpec(
    name="agreement",
    title=lambda of: f"{of.title} beside {of.table.title}",
    caption=lambda of: (
        f"Accuracy in %, theirs on {of.table.dataset}, ratio {of.table.imbalance_ratio}; gains "
        f"over {of.table.rows[0].published} of the same source. Recipe, network and image copy "
        "differ: only the order of methods is compared."
    ),
    columns=_columns,
    rows=lambda of: [*of.published],
)


@dataclass(frozen=True)
class Order:
    """A line of the table of agreements."""

    title: str
    found: Agreement

    def rho_range(self) -> str:
        """Return the interval of rho."""
        return _between(self.found.rho_interval)

    def tau_range(self) -> str:
        """Return the interval of tau."""
        return _between(self.found.tau_interval)


def _between(interval: tuple[Fraction, Fraction]) -> str:
    low, high = interval
    return f"{fixed(low, 2)} to {fixed(high, 2)}"


ORDERS: TableSpec[Sequence[Order], Order] = TableSpec(
    name="agreements",
    title=lambda _: "Agreement of orders",
    caption=lambda _: (
        "Spearman's rho and Kendall's tau-b with the published order; 95 % bootstrap intervals "
        "over methods and seeds."
    ),
    columns=lambda _: [
        Column("Order", lambda order: order.title, names=True),
        Column("Methods", lambda order: order.found.methods, COUNT),
        Column("Seeds", lambda order: order.found.seeds, COUNT),
        Column("rho", lambda order: order.found.rho, RANK),
        Column("95 %", lambda order: order.rho_range()),
        Column("tau", lambda order: order.found.tau, RANK),
        Column("95 % of tau", lambda order: order.tau_range()),
    ],
    rows=lambda orders: [*orders],
)


def ceiling(table: ReferenceTable) -> tuple[Order, str]:
    """Return how well the table's order repeats under another ratio."""
    theirs, again = table.accuracies(table.imbalance_ratio), table.accuracies(table.ceiling)
    found = agreement(theirs, [[value] for value in again])
    noise = _between(noise_interval(theirs))
    order = Order(f"the table's own ratio {table.ceiling}", found)
    return order, f"A noise of one point on the published accuracies leaves rho at {noise}."
