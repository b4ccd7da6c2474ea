from fractions import Fraction

from ltbench.analysis.agreement import authors_runs, published_spread, reference_tables
from ltbench.analysis.published import published_numbers
from ltbench.config.registry import load_registry
from ltbench.report.context import Leaderboard
from ltbench.report.evidence import CELL, evidence
from ltbench.runs.store import Loaded

METHODS = load_registry().methods


def told(toy, dataset, methods, longer=()):
    """Return the evidence for one seed of some methods with more and more hits.

    Those of `longer` are trained by a longer recipe, too, with fewer and fewer hits.
    """
    plans, records = [], []
    twice = toy.recipe(name="double", title="Twice the epochs", batch_size=64)
    for names, how in ((methods, {}), (longer[::-1], {"recipe": twice})):
        variants = [{"label": each, "method": each} for each in names]
        if variants:
            how |= {"seeds": (0,), "splits": ("longtailed",), "methods": METHODS}
            plan = toy.plan(variants, dataset=dataset, **how)
            plans.append(plan)
            hits = {label: (10 + i,) * 6 for i, label in enumerate(names)}
            records += [toy.record(job, hits[job.label]) for job in plan.jobs.values()]
    return dict(evidence(Leaderboard.of(plans, Loaded(toy.stored(*records)), METHODS)))


def test_the_order_is_compared_on_a_board_of_the_tables_dataset(toy):
    board = toy.dataset(name="cifar10_jpeg", imbalance_ratio=100)
    methods = ("weighted_softmax", "focal", "softmax", "balanced_softmax")  # as published
    text = told(toy, board, methods)["Order of methods"]
    assert "4 methods" in text
    assert "rank correlation of 1.00 (1.0 to 1.0) with" in text
    again = told(toy, board, methods[::-1])["Order of methods"]
    assert "rank correlation of -1.00" in again
    assert "Order of methods" not in told(toy, board, methods[:2])
    assert "Order of methods" not in told(toy, toy.dataset(), methods)


def test_other_recipes_with_the_same_methods_stand_beside_it(toy):
    board = toy.dataset(name="cifar10_jpeg", imbalance_ratio=100)
    methods = ("weighted_softmax", "focal", "softmax", "balanced_softmax")
    text = told(toy, board, methods, methods)["Order of methods"]
    assert "rank correlation of 1.00" in text
    assert "; Twice the epochs: -1.00 (-1.0 to -1.0); in brackets" in text
    assert "Twice the epochs" not in told(toy, board, methods, methods[1:])["Order of methods"]


def test_numbers_are_those_of_the_reference_files(toy):
    found = told(toy, toy.dataset(), ("softmax",))
    others = sum(info.oracle_by_others for info in METHODS.values())
    held = sum(info.oracle is not None for info in METHODS.values()) - others
    assert found["Equations"].startswith(f"{held} of {len(METHODS)} methods")
    assert f"{others} more" in found["Equations"]
    largest = max(abs(run.theirs - run.ours) for run in authors_runs().runs)
    assert f"at most {largest:.1f} points" in found["Whole runs"]
    assert all(run.method in METHODS for run in authors_runs().runs)
    values = {
        number.source: number.value
        for number in published_numbers()
        if (number.method, number.dataset, number.ratio, number.network, number.metric)
        == (*CELL[:2], "100", "ResNet-32", "acc")
    }
    low, high = min(values.values()), max(values.values())
    assert (
        f"between {float(low):.1f} and {float(high):.1f} in {len(values)} "
        in (found["Published numbers"])
    )


def test_a_spread_is_sorted():
    spread = [*published_spread(*CELL).values()]
    assert spread == sorted(spread)
    assert isinstance(spread[0], Fraction)
    (table,) = reference_tables()
    assert set(table.sources) & set(published_spread(*CELL))
