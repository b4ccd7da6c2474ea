import pytest
import torch

from ltbench.metrics import (
    CalibrationBins,
    calibration_bins,
    fit_temperature,
    grid_search,
    hits_and_totals,
    mean_class_accuracy,
)


@pytest.mark.oracle("ece", level="case")
def test_calibration(oracle):
    bins = calibration_bins(
        oracle["confidences"], oracle["preds"] == oracle["labels"], oracle.hparams["num_bins"]
    )
    assert bins.counts.equal(oracle["bin_counts"])
    torch.testing.assert_close(bins.confidence, oracle["bin_conf"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(bins.accuracy, oracle["bin_acc"], rtol=1e-6, atol=1e-9)
    assert bins.ece == pytest.approx(float(oracle["ece"]), rel=1e-6)


def test_bins_are_open_below_and_closed_above():
    confidences = torch.tensor(
        [0.0, 0.25, 0.25 + 1e-12, 0.5, 1.0, 1.0 + 1e-12], dtype=torch.float64
    )
    bins = calibration_bins(confidences, torch.ones(6, dtype=torch.bool), bins=4)
    assert bins.counts.tolist() == [1, 2, 0, 2]


def test_a_sure_and_right_classifier_is_calibrated():
    assert calibration_bins(torch.ones(8), torch.ones(8, dtype=torch.bool)).ece == 0.0
    assert calibration_bins(torch.ones(8), torch.zeros(8, dtype=torch.bool)).ece == 1.0
    assert calibration_bins(torch.ones(0), torch.ones(0, dtype=torch.bool)).ece == 0.0


def test_a_confidence_that_is_no_number_is_in_no_bin():
    right = torch.ones(2, dtype=torch.bool)
    with pytest.raises(ValueError, match="confidence"):
        calibration_bins(torch.tensor([0.5, torch.nan]), right)


def test_hits_and_totals():
    labels = torch.tensor([0, 0, 2, 2, 2, 4])
    predictions = torch.tensor([0, 1, 2, 2, 0, 3])
    hits, totals = hits_and_totals(predictions, labels, 6)
    assert hits.tolist() == [1, 0, 2, 0, 0, 0]
    assert totals.tolist() == [2, 0, 3, 0, 1, 0]


def test_classes_count_alike_and_those_without_images_not_at_all():
    labels = torch.tensor([0, 0, 0, 0, 2, 2])
    predictions = torch.tensor([0, 0, 0, 1, 0, 2])
    assert mean_class_accuracy(predictions, labels, 4) == (3 / 4 + 1 / 2) / 2


def test_equal_class_accuracies_are_equal_scores_in_any_order():
    """With float sums, which depend on their order, one would win."""
    generator = torch.Generator().manual_seed(0)
    right = torch.tensor([3, 7, 9, 1, 4, 6, 8, 2, 7, 3])
    labels = torch.arange(10).repeat_interleave(10)
    within = torch.arange(10).repeat(10)
    scores = set()
    for _ in range(50):
        right = right[torch.randperm(10, generator=generator)]
        predictions = torch.where(within < right[labels], labels, (labels + 1) % 10)
        scores.add(mean_class_accuracy(predictions, labels, 10))
    assert scores == {0.5}


def test_calibration_error_is_the_nearest_float_in_any_order_of_bins():
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 999, (15,), generator=generator)
    confidence, accuracy = torch.rand(2, 15, generator=generator, dtype=torch.float64)
    errors = {
        CalibrationBins(counts[order], confidence[order], accuracy[order]).ece
        for order in (torch.randperm(15, generator=generator) for _ in range(50))
    }
    assert len(errors) == 1


def test_of_the_best_candidates_the_one_in_the_middle_is_taken():
    assert grid_search([0.0, 0.5, 1.0], lambda value: -abs(value - 0.4)) == 0.5
    assert grid_search(range(10), lambda value: min(value, 3)) == 6
    assert grid_search(range(4), lambda value: 1.0) == 1
    with pytest.raises(ValueError, match="score"):
        grid_search(range(4), lambda value: [0.0, float("nan")][value % 2])


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_a_temperature_undoes_the_one_that_labels_were_drawn_at(temperature):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    assert fit_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.05)
