import pytest
import torch
from safetensors.torch import load_file

from ltbench.config.dataset import DatasetSpec
from ltbench.config.job import Job
from ltbench.core.label_shift import SHIFTS, Shift
from ltbench.data.datamodule import DataModule
from ltbench.runs.run_dir import RunDirectory
from ltbench.training import fit
from ltbench.training.build import build_method
from ltbench.training.label_shift import shifted_counts, shifted_tests
from tests.support.training_jobs import DIGITS, job, options

# Five test images a class.
DATASET = DatasetSpec(**DIGITS.model_dump() | {"test_per_class": 5, "fingerprint": None})
FORWARD, UNIFORM, BACKWARD = Shift("forward", 50), Shift("uniform"), Shift("backward", 50)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return RunDirectory(tmp_path_factory.mktemp("runs"))


def small(method, **changes):
    """Return a job that is trained and tested in a moment."""
    return Job(**job(method, epochs=1, **changes).model_dump() | {"dataset": DATASET})


def ready(method, split="longtailed"):
    """Return a method that has learned nothing, and its data."""
    one = job(method, split=split)
    data = DataModule.of_job(one, None)
    built = build_method(one, data.counts).eval()
    return built, data


def test_counts_are_those_of_the_longtailed_test_lists_of_cifar():
    train = [int(500 * 0.01 ** (k / 99)) for k in range(100)]
    for ratio in (2, 5, 10, 25, 50):
        falling = [int(100 * (1 / ratio) ** (k / 99.0)) for k in range(100)]
        assert shifted_counts([100] * 100, train, Shift("forward", ratio)) == falling
        assert shifted_counts([100] * 100, train, Shift("backward", ratio)) == falling[::-1]
    assert shifted_counts([100] * 100, train, UNIFORM) == [100] * 100


def test_counts_of_small_and_of_unbalanced_test_sets():
    assert shifted_counts([3, 3, 3], [9, 5, 1], FORWARD) == [3, 1, 1]
    assert shifted_counts([3, 3, 3], [1, 5, 9], FORWARD) == [1, 1, 3]
    assert shifted_counts([10, 100, 100], [9, 5, 1], Shift("forward", 4)) == [10, 5, 2]
    assert shifted_counts([100, 10, 100], [9, 5, 1], Shift("forward", 4)) == [20, 10, 5]
    assert shifted_counts([1, 1, 40], [9, 5, 1], BACKWARD) == [1, 1, 7]


def test_inductive_methods_balanced_splits_and_missing_classes_have_no_shifted_tests():
    assert shifted_tests(*ready("softmax")) is None
    assert shifted_tests(*ready("lade", split="balanced")) is None
    method, data = ready("lade")
    data.test_labels = data.test_labels.clamp(max=8)
    assert shifted_tests(method, data) is None


def test_a_known_test_prior_is_that_of_the_shifted_test_set():
    method, data = ready("lade")
    predicted = {}

    def predict(images, target_prior):
        predicted.setdefault(tuple(target_prior.tolist()), []).append(images)
        return torch.zeros(len(images), 10) + target_prior

    method.predict = predict
    result = shifted_tests(method, data)
    assert result.test_time == "known_test_prior"
    assert [test.shift for test in result.tests] == list(SHIFTS)
    for test, (prior, images) in zip(result.tests, predicted.items(), strict=True):
        total = sum(test.totals)
        assert prior == pytest.approx([count / total for count in test.totals])
        assert sum(map(len, images)) == total
    forward, backward = result.tests[0], result.tests[-1]
    assert forward.hits == (50, *[0] * 9)  # the most frequent class is always predicted
    assert backward.hits == (*[0] * 9, 50)
    assert len({test.index_hash for test in result.tests}) == len(SHIFTS)


def test_adaptation_uses_the_shifted_test_set_and_is_undone():
    method, data = ready("sade")
    before = {name: value.clone() for name, value in method.state_dict().items()}
    seen = []

    def adapt(self, batches):
        seen.append(sum(views.shape[1] for views in batches))
        self.weights.copy_(torch.tensor([1.0, 0.0, 0.0]))

    kind = type(method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "adapt", adapt)
        result = shifted_tests(method, data)
    assert result.test_time == "transductive"
    assert seen == [sum(test.totals) for test in result.tests]
    assert all(torch.equal(method.state_dict()[name], value) for name, value in before.items())


def test_a_record_of_sade_has_shifted_tests_and_unadapted_weights(run_dir):
    record = fit.run_job(small("sade", hparams={"test_epochs": 1}), run_dir, options())
    assert [test.shift for test in record.shifted.tests] == list(SHIFTS)
    assert record.shifted.accuracy(UNIFORM) is not None
    weights = load_file(run_dir.job(record.key).weights)["weights"].float()
    assert torch.equal(weights, torch.full_like(weights, 1 / 3))


def test_bf16_adapts(run_dir):
    one = small("sade", hparams={"test_epochs": 1}, precision="bf16", channels_last=True)
    record = fit.run_job(one, run_dir, options())
    assert [sum(test.totals) for test in record.shifted.tests][::5] == [17, 50, 17]
