"""The metrics of a run, against authors' code, scikit-learn and brute force."""

from fractions import Fraction

import numpy as np
import pytest

from ltbench.analysis.metrics import METRICS, EvaluatedRun, Metric, metric_values
from ltbench.analysis.result_set import boards
from ltbench.analysis.runs import table_of_runs
from ltbench.core.exact import mean_accuracy
from ltbench.core.groups import GROUPS, class_groups
from tests.support.made_records import evaluation_result


def evaluated(hits, totals, groups=(), **counts):
    """Return a run of some counts."""
    result = evaluation_result([*map(int, hits)], [*map(int, totals)], **counts)
    return EvaluatedRun(None, result, tuple(groups))


def value(key, hits, totals, **counts):
    return METRICS[key].of(evaluated(hits, totals, **counts))


def accuracy(hits, totals, groups, group):
    return METRICS[group].of(evaluated(hits, totals, groups))


@pytest.mark.oracle("shot_split", level="case")
def test_shot_accuracies_equal_those_of_three_authors_codes(oracle):
    case = oracle.own
    counts, labels, predictions = case["train_counts"], case["labels"], case["preds"]
    classes = len(counts)
    totals = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[labels == predictions], minlength=classes)
    groups = class_groups(counts.tolist(), "shots")
    ours = {group: accuracy(hits.tolist(), totals.tolist(), groups, group) for group in GROUPS}
    published = [name for name in case if name.endswith("_100_20")]
    assert len(published) == 3
    for name in published:
        for group, theirs in zip(GROUPS, case[name], strict=True):
            if group in groups:
                assert ours[group] == pytest.approx(theirs, abs=1e-12), (name, group)
            else:
                assert theirs == 0  # they print an empty group as zero
                assert ours[group] is None
    expected = case["per_class_acc"].mean()
    assert mean_accuracy(hits.tolist(), totals.tolist()) == pytest.approx(expected, abs=1e-12)


def test_empty_groups_and_absent_classes_have_no_accuracy():
    groups = ("many", "many", "few")
    assert accuracy([3, 0, 0], [4, 0, 0], groups, "many") == 0.75
    assert accuracy([3, 0, 0], [4, 0, 0], groups, "medium") is None
    assert accuracy([3, 0, 0], [4, 0, 0], groups, "few") is None
    assert mean_accuracy([0], [0]) is None


def test_macro_f1_equals_scikit_learn():
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 4])[generator.integers(0, 4, 200)]  # none of class 3
    predictions = np.where(generator.random(200) < 0.4, labels, generator.integers(0, 5, 200))
    hits = np.bincount(labels[labels == predictions], minlength=5)
    totals, predicted = (np.bincount(of, minlength=5) for of in (labels, predictions))
    there = np.flatnonzero(totals)
    expected = f1_score(labels, predictions, labels=there, average="macro", zero_division=0)
    assert value("macro_f1", hits, totals, predicted=predicted.tolist()) == pytest.approx(
        expected, abs=1e-12
    )


def test_macro_precision_equals_scikit_learn():
    from sklearn.metrics import precision_score

    generator = np.random.default_rng(1)
    labels = generator.integers(0, 4, 200)  # class 4 has no test image, class 3 no prediction
    predictions = np.where(generator.random(200) < 0.4, labels, generator.integers(0, 5, 200))
    predictions[predictions == 3] = 4
    hits = np.bincount(labels[labels == predictions], minlength=5)
    totals, predicted = (np.bincount(of, minlength=5) for of in (labels, predictions))
    there = np.flatnonzero(totals)
    expected = precision_score(labels, predictions, labels=there, average="macro", zero_division=0)
    assert value("macro_precision", hits, totals, predicted=predicted.tolist()) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("classes", [2, 3, 10, 100, 1000])
def test_geometric_means_equal_those_of_floats(classes):
    generator = np.random.default_rng(classes)
    totals = generator.integers(1, 1000, classes)
    hits = generator.integers(1, totals + 1)
    expected = np.exp(np.log(hits / totals).mean())
    assert value("geometric_mean", hits, totals) == pytest.approx(expected, rel=1e-12)


def test_a_geometric_mean_is_exact_if_rational_and_zero_with_a_class_of_zero_recall():
    assert value("geometric_mean", (1, 4), (9, 25)) == Fraction(2, 15)
    assert value("geometric_mean", (1, 0, 2), (1, 5, 2)) == 0
    assert value("geometric_mean", (1, 0, 1), (8, 0, 1)) == value("geometric_mean", (1, 1), (8, 1))


@pytest.mark.parametrize(
    ("predicted", "skew"),
    [((5, 3, 2), 0), ((10, 0, 0), Fraction(1, 2)), ((6, 3, 1), Fraction(1, 10))],
)
def test_the_skew_is_the_share_of_predictions_to_change(predicted, skew):
    assert value("prediction_skew", (0, 0, 0), (5, 3, 2), predicted=predicted) == skew


def test_the_worst_class_has_test_images():
    assert value("worst_class", (3, 1, 0), (4, 2, 0)) == Fraction(1, 2)


def test_ranking_metrics_equal_torchmetrics():
    import torch
    from torchmetrics.functional.classification import (
        multiclass_auroc,
        multiclass_average_precision,
    )

    generator = np.random.default_rng(2)
    labels = generator.integers(0, 4, 60)
    scores = generator.random((60, 4))
    scores /= scores.sum(axis=1, keepdims=True)
    pairs = []
    for k in range(4):
        own, others = scores[labels == k, k], scores[labels != k, k]
        pairs.append(sum(2 * (a > b) + (a == b) for a in own for b in others))
    probabilities, truth = torch.from_numpy(scores), torch.from_numpy(labels)
    areas = multiclass_average_precision(probabilities, truth, 4, average=None)
    # A fifth class has no test image.
    found = {"auroc_pairs": (*map(int, pairs), 0), "average_precision": (*areas.tolist(), None)}
    totals = np.bincount(labels, minlength=5)
    expected = multiclass_auroc(probabilities, truth, 4)
    assert value("auroc", (0,) * 5, totals, **found) == pytest.approx(float(expected), abs=1e-6)
    expected = multiclass_average_precision(probabilities, truth, 4)
    assert value("auprc", (0,) * 5, totals, **found) == pytest.approx(float(expected), abs=1e-6)


def test_a_class_with_all_images_has_no_curve():
    assert value("auroc", (1, 0), (2, 0), auroc_pairs=(0, 0)) is None
    assert value("auroc", (1, 0), (2, 2), auroc_pairs=(8, 6)) == Fraction(7, 8)


def test_training_accuracy_is_over_the_training_images(toy):
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}], seeds=(0,))
    (job,) = (job for job in plan.jobs.values() if job.split == "longtailed")
    record = toy.record(job, (45, 40, 30, 20, 5, 1))
    assert metric_values(record)["train_acc"] is None
    hits = record.training.model_copy(update={"hits": (200, 100, 30, 20, 10, 4)})
    seen = record.model_copy(update={"training": hits})
    assert metric_values(seen)["train_acc"] == Fraction(364, 455)
    split = record.split.model_copy(
        update={"train_counts": (200,) * 6}
    )  # as of a balanced counterpart
    balanced = seen.model_copy(update={"split": split})
    assert metric_values(balanced)["train_acc"] == Fraction(364, 1200)
    untrained = record.model_copy(update={"training": None})
    assert metric_values(untrained)["train_acc"] is None


def test_a_metric_is_one_entry(toy):
    METRICS["hits"] = Metric("hits", "Hits", "", lambda run: Fraction(run.test.hits[0], 50))
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}], seeds=(0,))
    records = toy.stored(*(toy.record(job, (45, 40, 30, 20, 5, 1)) for job in plan.jobs.values()))
    (board,) = boards(plan, records)
    assert board.entries[0].values["hits"].mean == 90
    assert {row["hits"] for row in table_of_runs(records)} == {90.0}


def test_metrics_have_distinct_titles_and_help():
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
    assert all(metric.help.endswith(".") for metric in METRICS.values())
    assert all(key == metric.key for key, metric in METRICS.items())
