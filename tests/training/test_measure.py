import pytest
import torch

from ltbench.training import measure as module
from ltbench.training.measure import measure
from tests.support.quickstart import key, quickstart


@pytest.fixture(scope="module")
def plan():
    return quickstart("seed=0", "split=longtailed")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(module, "TOTAL_SECONDS", 0.01)


def test_every_job_of_the_quickstart_is_measured_without_its_data(plan, monkeypatch, tmp_path):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    for job in plan.jobs.values():
        train, test = measure(job, torch.device("cpu"))
        assert (train is None) == (job.stage_recipe is None), job.title
        assert test > 0
        assert train is None or train > 0


def test_slow_batches_are_timed_in_part(plan, monkeypatch):
    sizes = []

    def make_step(size):
        sizes.append(size)
        return lambda: None

    monkeypatch.setattr(module, "_seconds", lambda step, device: 1.0)
    assert module._rate(make_step, 256, torch.device("cpu")) == 16
    assert sizes == [8, 16]


def test_more_classes_than_images_are_measured(plan):
    job = plan.jobs[key(plan, "Softmax")]
    one = job.model_copy(update={"dataset": job.dataset.model_copy(update={"classes": 100})})
    assert measure(one, torch.device("cpu"))[0] > 0
