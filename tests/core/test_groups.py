import numpy as np
import pytest

from ltbench.analysis.class_metrics import group_accuracies, macro_f1
from ltbench.core.exact import mean_accuracy
from ltbench.core.groups import class_groups


@pytest.mark.oracle("shot_split", level="case")
def test_shots_is_what_three_authors_compute(oracle):
    case = oracle.own
    counts, labels, predictions = case["train_counts"], case["labels"], case["preds"]
    classes = len(counts)
    totals = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[labels == predictions], minlength=classes)
    groups = class_groups(counts.tolist(), "shots")
    ours = group_accuracies(hits.tolist(), totals.tolist(), groups)
    published = [name for name in case if name.endswith("_100_20")]
    assert len(published) == 3
    for name in published:
        for group, theirs in zip(("many", "medium", "few"), case[name], strict=True):
            if group in groups:
                assert ours[group] == pytest.approx(theirs, abs=1e-12), (name, group)
            else:
                assert theirs == 0  # they print an empty group as zero
                assert ours[group] is None
    expected = case["per_class_acc"].mean()
    assert mean_accuracy(hits.tolist(), totals.tolist()) == pytest.approx(expected, abs=1e-12)


def test_shots_at_its_edges():
    assert class_groups([101, 100, 20, 19, 0], "shots") == (
        "many",
        "medium",
        "medium",
        "few",
        "few",
    )


@pytest.mark.parametrize(
    ("classes", "sizes"),
    [
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),
        (4, (1, 2, 1)),
        (8, (3, 2, 3)),
        (10, (3, 4, 3)),
        (100, (33, 34, 33)),
    ],
)
def test_rank_thirds_sizes(classes, sizes):
    groups = class_groups(range(classes, 0, -1), "rank_thirds")
    assert tuple(groups.count(g) for g in ("many", "medium", "few")) == sizes
    assert list(groups) == sorted(groups, key=("many", "medium", "few").index)


def test_rank_thirds_follows_counts_not_positions_and_breaks_ties_by_index():
    assert class_groups([5, 9, 5, 1, 5, 7], "rank_thirds") == (
        "medium",
        "many",
        "medium",
        "few",
        "few",
        "many",
    )


def test_empty_groups_and_absent_classes_have_no_accuracy():
    groups = ("many", "many", "few")
    assert group_accuracies([3, 0, 0], [4, 0, 0], groups) == {
        "many": 0.75,
        "medium": None,
        "few": None,
    }
    assert mean_accuracy([0], [0]) is None


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 4])[generator.integers(0, 4, 200)]  # none of class 3
    predictions = np.where(generator.random(200) < 0.4, labels, generator.integers(0, 5, 200))
    hits = np.bincount(labels[labels == predictions], minlength=5)
    totals, predicted = (np.bincount(of, minlength=5) for of in (labels, predictions))
    there = np.flatnonzero(totals)
    expected = f1_score(labels, predictions, labels=there, average="macro", zero_division=0)
    assert macro_f1(hits, totals, predicted) == pytest.approx(expected, abs=1e-12)
    assert macro_f1([0], [0], [0]) is None
