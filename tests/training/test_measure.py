import pytest
import torch

from ltbench.config.registry import load_registry
from ltbench.launch.plan import Request, make_plan
from ltbench.training import measure as module
from ltbench.training.measure import count_flops, measure
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


@pytest.fixture(scope="module")
def resnet32():
    chosen = "variant=Softmax,BBN,LFME,Decouple-IB-CRT"
    only = (chosen, "dataset=cifar100_r100", "seed=0,split=longtailed")
    return make_plan(Request("cifar100_lt", only=only))[0]


def test_operations_of_a_prediction_are_those_of_the_registry(resnet32):
    methods = load_registry().methods
    for method in ("softmax", "bbn", "lfme"):
        job = next(job for job in resnet32.jobs.values() if job.method == method)
        assert count_flops(job)[1] == pytest.approx(1e6 * methods[method].cost.megaflops, rel=1e-2)


def test_operations_of_a_step_count_backward_passes_and_teachers(resnet32):
    def step(label):
        train, test = count_flops(resnet32.jobs[key(resnet32, label)])
        return train / test

    assert 2.9 < step("Softmax") < 3  # the images need no gradient
    assert step("LFME") == pytest.approx(step("Softmax") + 3, abs=0.1)  # a forward pass of each
    assert step("Decouple-IB-CRT") < 1.01


def test_teachers_have_the_hyper_parameters_of_the_student():
    only = ("variant=RIDE + distillation", "dataset=cifar100_r100", "seed=0,split=longtailed")
    sets = ("hparams.RIDE + distillation.reduced=false",)
    plan = make_plan(Request("cifar100_lt", only=only, sets=sets))[0]
    (student,) = (job for job in plan.jobs.values() if job.method == "ride_distill")
    assert count_flops(student)[0] > 0


def test_a_stage_without_training_has_no_operations_of_a_step(plan):
    assert count_flops(plan.jobs[key(plan, "NCM")])[0] is None


@pytest.mark.parametrize("label", ["OFA", "LMLE"])
def test_methods_that_draw_groups_of_images_are_counted_on_more_images(label):
    only = (f"variant={label}", "split=longtailed", "seed=0")
    plan = make_plan(Request("cifar10_lt_fast", only=only))[0]
    trained = [j for j in plan.jobs.values() if j.label == label and j.stage_recipe is not None]
    assert trained
    assert all(count_flops(job)[0] > 0 for job in trained)
