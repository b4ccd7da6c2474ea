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
    monkeypatch.setattr(module, "ENOUGH", 0.01)


def test_every_kind_of_the_quickstart_is_measured_without_its_data(plan, monkeypatch, tmp_path):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    for job in plan.jobs.values():
        train, test = measure(job, torch.device("cpu"))
        assert (train is None) == (job.stage_recipe is None), job.title
        assert test > 0
        assert train is None or train > 0


def test_batches_that_take_long_are_timed_in_part(plan, monkeypatch):
    sizes = []

    def prepared(size):
        sizes.append(size)
        return lambda: None

    monkeypatch.setattr(module, "_timed", lambda do, device: 1.0)
    assert module._rate(prepared, 256, torch.device("cpu")) == 16
    assert sizes == [8, 16]


def test_a_network_wider_than_its_labels_is_measured(plan):
    job = plan.jobs[key(plan, "Softmax")]
    one = job.model_copy(update={"dataset": job.dataset.model_copy(update={"classes": 100})})
    assert measure(one, torch.device("cpu"))[0] > 0
