from fractions import Fraction
from pathlib import Path
from statistics import fmean

from ltbench.analysis.agreement import (
    authors_runs,
    boards_of,
    published_spread,
    read_history,
    reference_tables,
)
from ltbench.analysis.published import published_numbers
from ltbench.config.registry import load_registry
from ltbench.report.context import Leaderboard
from ltbench.report.evidence import CELL, evidence
from ltbench.runs.store import Loaded

METHODS = load_registry().methods
HISTORY = Path(__file__).parents[2] / "benchmarks" / "results" / "resnet8_12_epochs.csv"
DEFAULTS = {"mixup": {"alpha": 1.0}, "bbn": {"horizon": 1.0}}


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
    runs = authors_runs().runs
    largest = max(abs(fmean(run.theirs) - fmean(run.ours)) for run in runs)
    assert f"at most {largest:.1f} points" in found["Whole runs"]
    assert "Softmax 39.8 (1) and 38.7 (5), mixup 33.0 (1) and 32.3 (2)" in found["Whole runs"]
    assert "BBN 43.3 (1) and 43.6 (1)" in found["Whole runs"]
    assert "up to 3.8 points between seeds" in found["Whole runs"]
    assert all(run.method in METHODS for run in runs)
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


def test_our_runs_beside_the_authors_are_those_of_the_history():
    (table,) = reference_tables()
    runs = boards_of(table, read_history(HISTORY))["cifar10_jpeg_r100", "cifar_small"]
    inits = {"lfme": "softmax"}
    for each in authors_runs().runs:
        defaults = {f"hp.{name}": value for name, value in DEFAULTS.get(each.method, {}).items()}
        found = {
            run["seed"]: run["acc"]
            for run in runs
            if (run["method"], run["init_from"]) == (each.method, inits.get(each.method, ""))
            and (run["subset"], run["auxiliary"]) == ("all", "")
            and defaults.items() <= run.items()
        }
        assert [found[seed] for seed in sorted(found)] == [Fraction(str(v)) for v in each.ours]


def test_a_spread_is_sorted():
    spread = [*published_spread(*CELL).values()]
    assert spread == sorted(spread)
    assert isinstance(spread[0], Fraction)
    (table,) = reference_tables()
    assert set(table.sources) & set(published_spread(*CELL))
