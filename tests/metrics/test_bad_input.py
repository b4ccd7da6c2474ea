"""What metrics answer to predictions, labels and scores that they cannot take."""

import numpy as np
import pytest
import torch

from ltbench.metrics import (
    calibration_bins,
    confusion_rows,
    fit_temperature,
    grid_search,
    hits_and_totals,
    mean_class_accuracy,
    rank_class,
)

LABELS = torch.tensor([0, 1, 2])
SURE = torch.tensor([0.9, 0.8])
RIGHT = torch.tensor([True, False])


@pytest.mark.parametrize("metric", [hits_and_totals, confusion_rows, mean_class_accuracy])
def test_classes(metric):
    for wrong in (LABELS + 1, LABELS - 1):
        with pytest.raises(ValueError, match=r"^labels: "):
            metric(LABELS, wrong, 3)
        with pytest.raises(ValueError, match=r"^predictions: "):
            metric(wrong, LABELS, 3)
    with pytest.raises(ValueError, match=r"^predictions: "):
        metric(LABELS[:1], LABELS, 3)
    with pytest.raises(TypeError, match=r"^predictions: "):
        metric(torch.eye(3), LABELS, 3)
    with pytest.raises(ValueError, match=r"^labels: "):
        metric(LABELS[:0], LABELS[:0], 3)


@pytest.mark.parametrize("metric", [hits_and_totals, confusion_rows, mean_class_accuracy])
def test_values_on_an_accelerator_are_checked(metric):
    """A meta tensor has none: they are asked for before anything is counted."""
    with pytest.raises((RuntimeError, NotImplementedError)) as error:
        metric(LABELS.to("meta"), LABELS.to("meta"), 3)
    assert "bounds" in [entry.name for entry in error.traceback]


@pytest.mark.parametrize(
    ("argument", "args"),
    [
        ("confidences", (100 * SURE, RIGHT)),
        ("confidences", (-SURE, RIGHT)),
        ("confidences", (SURE[:, None], RIGHT)),
        ("correct", (SURE, RIGHT[:1])),
        ("correct", (SURE, RIGHT.long())),
        ("bins", (SURE, RIGHT, 0)),
    ],
)
def test_calibration(argument, args):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        calibration_bins(*args)


def test_a_softmax_that_rounding_carries_above_one_is_sure():
    assert calibration_bins(torch.tensor([1.0 + 1e-6]), torch.tensor([True])).ece == 0


def test_temperature():
    for labels in (torch.tensor([0, -100, 2]), LABELS[:2]):
        with pytest.raises(ValueError, match=r"^labels: "):
            fit_temperature(torch.eye(3), labels)
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(torch.full((3, 3), torch.nan), LABELS)


def test_ranking():
    scores, own = np.array([0.1, 0.4], np.float32), np.array([True, False])
    for bad in ((scores, own.astype(int)), (scores, own[:1]), (scores * np.nan, own)):
        with pytest.raises(ValueError, match="score"):
            rank_class(*bad)


def test_a_search_among_nothing():
    with pytest.raises(ValueError, match=r"^values: "):
        grid_search([], float)
    assert grid_search(np.array([1.0, 2.0]), float) == 2
