"""SimCal: what is calibrated, and which classifier predicts a class."""

import pytest
import torch

from ltbench.methods.contract import EpochDraw
from ltbench.methods.rebalancing.simcal import calibrated_classes
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def started(**hparams):
    start = steps.build(Case("softmax"))
    method = steps.build(Case("simcal", hparams))
    method.init_from_weights(start.state_dict())
    method.on_stage_start(method.stage)
    return start, method


@pytest.mark.parametrize(
    ("counts", "threshold", "expected"),
    [
        ([500, 100, 99, 5], None, [0, 0, 1, 1]),
        (CIFAR10_LT, None, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]),
        (CIFAR10_LT, 100, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
        (CIFAR10_LT, 0, [0] * 10),
        (CIFAR10_LT, 5001, [1] * 10),
        ([300, 300, 300], None, [0, 0, 0]),
        ([30, 30, 30], None, [1, 1, 1]),
        ([300], None, [0]),
    ],
)
def test_small_classes_are_calibrated(counts, threshold, expected):
    found = calibrated_classes(torch.tensor(counts), threshold)
    assert found.tolist() == list(map(bool, expected))


def test_it_begins_as_its_start_and_trains_the_copy_alone():
    start, method = started(threshold=10)
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert trained == {"network.classifier.weight", "network.classifier.bias"}
    assert all(method.weight_decay_scale(name) == 0 for name in trained)
    images = steps.evaluation_batch(method).images
    found, expected = method.eval().predict(images), start.eval().predict(images)
    torch.testing.assert_close(found, expected.log_softmax(dim=1))
    assert not any(module.training for module in method.train().network.backbone.modules())


def test_a_batch_has_images_of_sixteen_classes():
    _, method = started()
    labels = torch.arange(100).repeat_interleave(8)
    (index,) = method.epoch_indices(EpochDraw(labels, 0, 1, 64, seed=0)).values()
    classes = labels[index].view(-1, 16, 4)
    assert (classes == classes[:, :, :1]).all()
    assert classes[:, :, 0].unique().numel() > 80


def with_probabilities(**hparams):
    """Return a method whose classifiers give the probabilities of the sheet to any image."""
    _, method = started(**hparams)
    for head, probabilities in (
        (method.original, [0.5, 0.3, 0.1, 0.1]),
        (method.network.classifier, [0.1, 0.1, 0.1, 0.7]),
    ):
        with torch.no_grad():
            head.weight.zero_()
            head.bias.copy_(torch.tensor(probabilities).log())
    return method.eval()


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (3, [0.5, 0.3, 0.1, 0.7]),  # COUNTS are 40, 12, 5 and 2
        (13, [0.5, 0.1, 0.1, 0.7]),
        (0, [0.5, 0.3, 0.1, 0.1]),
        (41, [0.1, 0.1, 0.1, 0.7]),
    ],
)
def test_probabilities_of_two_classifiers_are_not_normalized_again(threshold, expected):
    method = with_probabilities(threshold=threshold)
    with torch.no_grad():
        found = method.predict(steps.evaluation_batch(method).images).exp()
    torch.testing.assert_close(found, torch.tensor(expected).expand_as(found))


def test_a_step_moves_nothing_but_the_copy():
    _, method = started()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    loss = steps.loss_of(method.train(), steps.training_batch(method))
    with torch.no_grad():
        for name, gradient in steps.gradients(method, loss).items():
            dict(method.named_parameters())[name].sub_(0.1 * gradient)
    after = method.state_dict()
    moved = {name for name in before if not after[name].equal(before[name])}
    assert moved == {"network.classifier.weight", "network.classifier.bias"}
