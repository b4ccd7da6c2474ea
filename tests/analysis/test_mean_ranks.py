from itertools import combinations

import numpy as np
import pytest

from ltbench.analysis.mean_ranks import MeanRanks, accuracies, rank_variants
from ltbench.analysis.result_set import boards
from ltbench.report.context import Leaderboard
from ltbench.report.summary_tables import RANKS_TABLE
from ltbench.runs.store import Loaded
from tests.support.tables import said

DEMSAR = {  # Table 6: areas under the ROC curve of C4.5 and its tuned forms on 14 datasets
    "C4.5": "763 599 954 628 882 936 661 583 775 1000 940 619 972 957",
    "C4.5+m": "768 591 971 661 888 931 668 583 838 1000 962 666 981 978",
    "C4.5+cf": "771 590 968 654 886 916 609 563 866 1000 965 614 975.1 946",
    "C4.5+m+cf": "798 569 967 657 898 931 685 625 875 1000 962 669 975 970",
}


def test_ranks_of_demsars_example():
    ranks = rank_variants({name: list(map(float, v.split())) for name, v in DEMSAR.items()})
    assert list(ranks.means) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert list(ranks.means.values()) == pytest.approx([1.964, 2.000, 2.893, 3.143], abs=5e-4)
    assert ranks.critical_difference == pytest.approx(1.25, abs=0.005)
    assert ranks.friedman < 0.05
    assert ranks.cliques() == [tuple(ranks.means)]


def test_a_variant_better_on_every_dataset_has_the_exact_p():
    rng = np.random.default_rng(0)
    base = rng.random(10)
    ranks = rank_variants({"a": base, "b": base + 1 + rng.random(10), "c": base + 3})
    assert list(ranks.means) == ["c", "b", "a"]
    assert ranks.wilcoxon["b", "a"] == pytest.approx(3 * 2 / 2**10)
    assert ranks.cliques() == []


def test_equal_scores_share_a_rank():
    ranks = rank_variants({name: [0.5] * 6 for name in "abc"})
    assert set(ranks.means.values()) == {2.0}
    assert ranks.friedman == 1.0
    assert ranks.cliques() == [("a", "b", "c")]


def test_cliques_may_overlap():
    p = dict.fromkeys(combinations("abcd", 2), 1.0) | {("a", "c"): 0.01, ("a", "d"): 0.01}
    ranks = MeanRanks(dict.fromkeys("abcd", 0.0), 0.0, 0.0, p, 9)
    assert ranks.cliques() == [("a", "b"), ("b", "c", "d")]


def test_two_variants_have_no_ranks():
    with pytest.raises(ValueError, match="three variants"):
        rank_variants({"a": [1.0], "b": [2.0]})


VARIANTS = [{"label": name, "method": name} for name in ("softmax", "b", "c", "late")]


HITS = {"softmax": 10, "b": 30, "c": 20, "late": 40}


def world(toy, datasets, recipes=("short",), hits=HITS):
    """Boards on which b is best, then c; "late" lacks a record on one dataset."""
    found = []
    for name in datasets:
        for recipe in recipes:
            dataset = toy.dataset(name=name)
            recipe_ = toy.recipe(name=recipe)
            plan = toy.plan(VARIANTS, dataset=dataset, recipe=recipe_, splits=("longtailed",))
            records = toy.stored(
                *(
                    toy.record(job, (hits[job.label] + job.seed,) * 6)
                    for job in plan.jobs.values()
                    if (job.label, name, job.seed) != ("late", datasets[0], 1)
                )
            )
            found += boards(plan, records)
    return found


def ranks_table(boards):
    return RANKS_TABLE.build(Leaderboard([(None, boards)], Loaded(), {}))


def test_the_table_needs_five_datasets_and_counts_each_once(toy):
    names = ["one", "two", "three", "four"]
    assert ranks_table(world(toy, names, recipes=("short", "long"))) is None
    table = ranks_table(world(toy, [*names, "five"], recipes=("short", "long")))
    assert [said(table, row)[:2] for row in table.rows] == [
        *(["b", "1.00"], ["c", "2.00"], ["softmax", "3.00"])
    ]
    assert "on one, two, three, four, five" in table.caption


def test_groups_need_datasets_on_which_a_pair_can_be_separated(toy):
    few, enough = [f"d{i}" for i in range(6)], [f"d{i}" for i in range(7)]
    assert [6 / 2 ** len(names) < 0.05 for names in (few, enough)] == [False, True]
    assert ranks_table(world(toy, few)).titles == ("Method", "Mean rank")
    assert "there are no groups" in ranks_table(world(toy, few)).caption
    even = world(toy, enough, hits={"softmax": 20, "b": 20, "c": 20, "late": 40})
    assert [row[2].text for row in ranks_table(even).rows] == ["1", "1", "1"]
    assert "Variants that share a group" in ranks_table(even).caption


def test_without_boards_there_are_no_accuracies():
    assert accuracies([]) == ((), {})
    assert ranks_table([]) is None
