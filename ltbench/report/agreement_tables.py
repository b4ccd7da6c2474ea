"""Tables of agreement with published orders of methods.

They have both orders, and how far these agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ltbench.analysis.agreement import (
    Agreement,
    ReferenceTable,
    agreement,
    boards_of,
    is_order,
    noise_interval,
    reference_tables,
    scores_of,
    without_one,
)
from ltbench.analysis.statistics import summarize
from ltbench.core.exact import fixed, mean
from ltbench.report.table import COUNT, PERCENT, POINTS, RANK, Column, Table, TableSpec, build


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
    def means(self) -> dict[str, Fraction]:
        """Our accuracies, means over seeds."""
        return {name: mean(each) for name, each in self.scores.items()}

    @property
    def has_order(self) -> bool:
        """Whether our accuracies order enough methods."""
        return is_order(self.means.values())

    @property
    def agreement(self) -> Agreement:
        """How far the orders agree."""
        return agreement([*self.published.values()], [*self.scores.values()])

    @property
    def order(self) -> "Order":
        """The line of the table of agreements."""
        return Order(self.title, self.agreement, without_one(self.published, self.means))


def _gain(of_one: Fraction, baseline: Fraction | None) -> Fraction | None:
    return None if baseline is None else of_one - baseline


def _columns(of: Compared) -> list[Column[str]]:
    baseline = of.table.rows[0].published
    theirs, ours = of.published, of.means
    return [
        Column("Method", lambda name: name, names=True),
        Column("Published", lambda name: theirs[name], PERCENT),
        Column("Gain", lambda name: _gain(theirs[name], theirs.get(baseline)), POINTS),
        Column("Ours", lambda name: ours[name], PERCENT),
        Column("Std", lambda name: summarize(of.scores[name]).std, PERCENT),
        Column("Our gain", lambda name: _gain(ours[name], ours.get(baseline)), POINTS),
    ]


BOTH_TABLE: TableSpec[Compared, str] = TableSpec(
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
    """A line of the table of agreements.

    Attributes:
        without: the method without which the orders agree best, and rho then.
    """

    title: str
    found: Agreement
    without: tuple[str, Fraction] | None

    def rho_range(self) -> str:
        """Return the interval of rho."""
        return between(self.found.rho_interval)

    def tau_range(self) -> str:
        """Return the interval of tau."""
        return between(self.found.tau_interval)


def between(interval: tuple[Fraction, Fraction]) -> str:
    """Return an interval to one decimal: two thousand resamples move the second."""
    low, high = interval
    return f"{fixed(low, 1)} to {fixed(high, 1)}"


@dataclass(frozen=True)
class Orders:
    """Orders that are compared with a published one."""

    table: ReferenceTable
    boards: Sequence[Order]

    def lines(self) -> list[Order]:
        """Return the boards' orders, and that of the table under another ratio."""
        table, title = self.table, f"the table's own ratio {self.table.ceiling}"
        again = zip(table.rows, table.accuracies(table.ceiling), strict=True)
        repeated = Compared(table, title, {row.published: [value] for row, value in again})
        return [*self.boards, repeated.order]


def _noise(of: Orders) -> str:
    return between(noise_interval(of.table.accuracies(of.table.imbalance_ratio)))


ORDERS_TABLE: TableSpec[Orders, Order] = TableSpec(
    name="agreements",
    title=lambda of: f"Agreement with the order of {of.table.title}",
    caption=lambda of: (
        "Spearman's rho and Kendall's tau-b with the published order; 95 % bootstrap intervals "
        "over methods and seeds. A noise of one point on the published accuracies leaves rho at "
        f"{_noise(of)}. Without: the method whose omission raises rho most, and rho then."
    ),
    columns=lambda _: [
        Column("Order", lambda order: order.title, names=True),
        Column("Methods", lambda order: order.found.methods, COUNT),
        Column("Seeds", lambda order: order.found.seeds, COUNT),
        Column("rho", lambda order: order.found.rho, RANK),
        Column("95 %", lambda order: order.rho_range()),
        Column("tau", lambda order: order.found.tau, RANK),
        Column("95 % of tau", lambda order: order.tau_range()),
        Column("Without", lambda order: order.without and order.without[0]),
        Column("rho then", lambda order: order.without and order.without[1], RANK),
    ],
    rows=Orders.lines,
)


def _ordered(table: ReferenceTable, runs: Sequence[Mapping[str, Any]]) -> list[Compared]:
    """Return our accuracies on each board whose methods have an order."""
    compared = (
        Compared(table, f"{dataset}, {recipe}", scores_of(table, own))
        for (dataset, recipe), own in boards_of(table, runs).items()
    )
    return [each for each in compared if each.has_order]


def agreement_tables(
    runs: Sequence[Mapping[str, Any]], earlier: Sequence[Mapping[str, Any]] = ()
) -> list[Table]:
    """Build the tables of agreement with each published table.

    Args:
        runs: rows of the table of runs, accuracies as fractions; both orders of a board are shown.
        earlier: of boards of which the agreement alone is shown.

    Returns:
        Nothing of a published table with whose rows no board has an order.
    """
    made: list[Table] = []
    for table in reference_tables():
        now, before = (_ordered(table, each) for each in (runs, earlier))
        boards = [compared.order for compared in (*now, *before)]
        if boards:
            made += [both for compared in now for both in build([BOTH_TABLE], compared)]
            made += build([ORDERS_TABLE], Orders(table, boards))
    return made
