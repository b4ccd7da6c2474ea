"""How the suite was validated, in sentences.

README and page open with it.
"""

from ltbench.analysis.agreement import (
    authors_runs,
    boards_of,
    comparable_runs,
    published_spread,
    rank_correlation,
    reference_tables,
    scores_of,
)
from ltbench.config.registry import OWN_FAMILY
from ltbench.core.exact import fixed, measured
from ltbench.report.agreement_tables import Compared, between
from ltbench.report.context import Leaderboard

CELL = ("Softmax", "CIFAR-100-LT", 100, "ResNet-32")
"""Method, dataset, imbalance ratio and network of the cell with the most published numbers."""


def evidence(of: Leaderboard) -> list[tuple[str, str]]:
    """Return the evidence for the numbers: titles and sentences."""
    return [
        ("Equations", _oracles(of)),
        ("Whole runs", _whole_runs(of)),
        *_order(of),
        ("Published numbers", _spread()),
    ]


def _oracles(of: Leaderboard) -> str:
    methods = [info for info in of.methods.values() if info.family != OWN_FAMILY]
    held = [info for info in methods if info.oracle is not None]
    others = sum(info.oracle_by_others for info in held)
    return (
        f"{len(held) - others} of {len(methods)} methods are checked against numbers from their "
        f"authors' code, {others} more against numbers from others' code: values, and gradients "
        "of losses, in double precision."
    )


def _whole_runs(of: Leaderboard) -> str:
    found = authors_runs()
    titles = {key: info.title for key, info in of.methods.items()}
    pairs = []
    for run in found.runs:
        numbers = (
            f"{fixed(mean, 1)} ({len(runs)})"
            for mean, runs in zip(run.means, (run.theirs, run.ours), strict=True)
        )
        pairs.append(f"{titles.get(run.method, run.method)} {' and '.join(numbers)}")
    largest = max(abs(theirs - ours) for theirs, ours in (run.means for run in found.runs))
    spread = max(measured(max(run.ours)) - measured(min(run.ours)) for run in found.runs)
    return (
        "trained by the authors' code (outside of this repository) and by ours, mean accuracies "
        f"differ by at most {fixed(largest, 1)} points ({found.recipe}; theirs and ours, in "
        f"brackets the number of runs): {', '.join(pairs)}. Ours of one method differ by up to "
        f"{fixed(spread, 1)} points between seeds. Longer training was not compared."
    )


def _order(of: Leaderboard) -> list[tuple[str, str]]:
    """Return the fullest board's rank correlation with a published table.

    Other recipes with the same methods on the same dataset stand beside it.
    """
    board = of.fullest
    if board is None:
        return []
    dataset, stored = board.dataset.id, of.loaded.records
    same = {key: each for key, each in stored.items() if each.record.job.dataset.id == dataset}
    titles = {each.record.job.recipe.name: each.record.job.recipe.title for each in same.values()}
    runs = comparable_runs(same)
    for table in reference_tables():
        orders = {
            recipe: Compared(table, titles[recipe], scores_of(table, own))
            for (_, recipe), own in boards_of(table, runs).items()
        }
        ours = orders.pop(board.recipe.name, None)
        if ours is None or not ours.has_order:
            continue
        others = "".join(
            f"; {other.title}: {_correlation(other)}"
            for other in orders.values()
            if other.has_order and other.scores.keys() == ours.scores.keys()
        )
        again = rank_correlation(*map(table.accuracies, (table.imbalance_ratio, table.ceiling)))
        text = (
            f"on {board.title}, {ours.title}, the order of {len(ours.scores)} methods has a rank "
            f"correlation of {_correlation(ours)} with that of {table.title}{others}; in brackets "
            "95 % intervals over methods and seeds. "
            f"Within that paper, ratios {table.imbalance_ratio} and {table.ceiling} have "
            f"{fixed(again, 2)}. `ltbench agreement` prints the orders."
        )
        return [("Order of methods", text)]
    return []


def _correlation(compared: Compared) -> str:
    """Return the rank correlation of both orders, with its interval."""
    found = compared.agreement
    return f"{fixed(found.rho, 2)} ({between(found.rho_interval)})"


def _spread() -> str:
    method, dataset, ratio, network = CELL
    found = [*published_spread(*CELL).values()]
    return (
        f"the accuracy of {method.lower()} on {dataset}, ratio {ratio}, {network}, is "
        f"between {fixed(found[0], 1)} and {fixed(found[-1], 1)} in {len(found)} sources. Only "
        "numbers under one recipe are compared here."
    )
