import logging

import pytest
import torch

from ltbench.config.job import Job
from ltbench.data.datamodule import DataModule
from ltbench.data.sources import load_raw_dataset
from ltbench.runs.run_dir import RunDirectory
from ltbench.training import fit
from ltbench.training.evaluation import Evaluation
from ltbench.training.open_set import THRESHOLDS, count_accepted, open_set_test
from tests.support.training_jobs import DIGITS, job, options


def opened(open_set, **changes):
    """Return a job whose dataset names an open set."""
    dataset = DIGITS.model_copy(update={"open_set": open_set})
    return Job(**job(epochs=1, **changes).model_dump() | {"dataset": dataset})


def test_accepted_images_are_at_or_above_the_threshold():
    confidence = torch.tensor([0.05, 0.1, 0.29, 0.3, 0.95], dtype=torch.float64)
    assert count_accepted(confidence).tolist() == [4, 2, 1, 1, 1]
    assert count_accepted(confidence[:0]).tolist() == [0] * len(THRESHOLDS)


def test_the_test_set_as_its_own_open_set():
    """Images of the open set are accepted like the same test images."""
    data = DataModule.of_job(opened("digits"), None)
    torch.manual_seed(0)
    logits = 3 * torch.randn(500, 10, dtype=torch.float64)

    class FixedLogits(torch.nn.Module):
        position = 0

        def predict(self, images):
            first, self.position = self.position, self.position + len(images)
            return logits[first : self.position]

    evaluation = Evaluation(10, torch.arange(10), torch.device("cpu"))
    evaluation.add(logits, data.test_labels)
    result = open_set_test(FixedLogits(), data, evaluation)
    confidence, prediction = logits.softmax(dim=1).max(dim=1)
    for k, threshold in enumerate(THRESHOLDS):
        known = confidence >= threshold
        assert result.mistaken[k] == known.sum()
        assert result.right[k] == (known & (prediction == data.test_labels)).sum()
    assert (result.dataset, result.images) == ("digits", 500)
    assert result.fingerprint == load_raw_dataset(DIGITS).fingerprint


def test_open_set_images_are_normalized_as_the_test_set():
    data = DataModule.of_job(opened("digits"), None)
    for own, other in zip(
        data.test_dataloader(), data.open_set_batches(data.open_set), strict=True
    ):
        assert torch.equal(own.images, other.images)
        assert (other.labels == -1).all()


def test_only_longtailed_records_have_an_open_set_test(tmp_path):
    record = fit.run_job(opened("digits"), RunDirectory(tmp_path), options())
    assert record.open_set.right[0] == sum(record.test.hits)  # ten classes: nothing is below 0.1
    assert record.open_set.mistaken[0] == 500
    assert record.f_measures()[0.1] > 0
    balanced = fit.run_job(opened("digits", split="balanced"), RunDirectory(tmp_path), options())
    assert balanced.open_set is None


def test_missing_open_set_images_are_logged(tmp_path, monkeypatch, caplog):
    one = opened("fashion_mnist")
    with caplog.at_level(logging.WARNING):
        assert DataModule.of_job(one, tmp_path).open_set is None
    assert "images of fashion_mnist are missing: no open-set test of digits" in caplog.text


def test_an_unknown_open_set_is_an_error_before_training(tmp_path):
    with pytest.raises(ValueError, match='no dataset "digit"'):
        fit.prepare(opened("digit"), RunDirectory(tmp_path), options())
