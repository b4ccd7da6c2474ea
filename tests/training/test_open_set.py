import logging

import pytest
import torch

from ltbench.config.models import Job
from ltbench.data.datamodule import DataModule
from ltbench.data.sources import load_raw_dataset
from ltbench.runs.run_dir import RunDirectory
from ltbench.training import fit
from ltbench.training.evaluation import Evaluation
from ltbench.training.open_set import THRESHOLDS, open_set_test, reaching
from tests.support.training_jobs import DIGITS, job, options


def opened(open_set, **changes):
    """Return a job whose dataset names an open set."""
    dataset = DIGITS.model_copy(update={"open_set": open_set})
    return Job(**job(epochs=1, **changes).model_dump() | {"dataset": dataset})


def test_counts_are_those_of_images_at_or_above_the_threshold():
    confidence = torch.tensor([0.05, 0.1, 0.29, 0.3, 0.95], dtype=torch.float64)
    assert reaching(confidence).tolist() == [4, 2, 1, 1, 1]
    assert reaching(confidence[:0]).tolist() == [0] * len(THRESHOLDS)


def test_the_own_images_as_their_open_set():
    """What is right is mistaken too, and so is what is wrong with the same confidence."""
    data = DataModule.of_job(opened("digits"), None)
    torch.manual_seed(0)
    answers = 3 * torch.randn(500, 10, dtype=torch.float64)

    class Answers(torch.nn.Module):
        place = 0

        def predict(self, images):
            first, self.place = self.place, self.place + len(images)
            return answers[first : self.place]

    evaluation = Evaluation(10, torch.arange(10), torch.device("cpu"))
    evaluation.add(answers, data.test_labels)
    result = open_set_test(Answers(), data, evaluation)
    confidence, prediction = answers.softmax(dim=1).max(dim=1)
    for place, threshold in enumerate(THRESHOLDS):
        known = confidence >= threshold
        assert result.mistaken[place] == known.sum()
        assert result.right[place] == (known & (prediction == data.test_labels)).sum()
    assert (result.dataset, result.images) == ("digits", 500)
    assert result.fingerprint == load_raw_dataset(DIGITS).fingerprint


def test_images_are_normalised_as_the_own_ones():
    data = DataModule.of_job(opened("digits"), None)
    for own, other in zip(data.test_dataloader(), data.open_batches(data.open_set), strict=True):
        assert torch.equal(own.images, other.images)
        assert (other.labels == -1).all()


def test_the_record_has_it_and_the_twin_has_none(tmp_path):
    record = fit.run_job(opened("digits"), RunDirectory(tmp_path), options())
    assert record.open_set.right[0] == sum(record.test.hits)  # ten classes: nothing is below 0.1
    assert record.open_set.mistaken[0] == 500
    assert record.f_measures()[0.1] > 0
    balanced_counterpart = fit.run_job(
        opened("digits", split="balanced"), RunDirectory(tmp_path), options()
    )
    assert balanced_counterpart.open_set is None


def test_absent_images_are_said_and_passed_over(tmp_path, monkeypatch, caplog):
    one = opened("fashion_mnist")
    with caplog.at_level(logging.WARNING):
        assert DataModule.of_job(one, tmp_path).open_set is None
    assert "no images of fashion_mnist: digits has no open-set test" in caplog.text


def test_unknown_open_sets_stop_a_job_before_it_trains(tmp_path):
    with pytest.raises(ValueError, match='no dataset "digit"'):
        fit.prepare(opened("digit"), RunDirectory(tmp_path), options())
