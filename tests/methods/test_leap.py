"""LEAP: angles, clouds, and the loss of a point in a cloud."""

import math

import pytest
import torch

from ltbench.config.hparams import HParamResolver
from ltbench.config.load import load_dataset
from ltbench.config.registry import load_registry
from ltbench.losses import cross_entropy
from ltbench.methods.augmentation.leap import cloud_logits, cloud_variances
from ltbench.methods.contract import Progress
from ltbench.testing import steps
from ltbench.testing.jobs import Case

COSINES = torch.tensor([[0.5, 1.2, 1.5]], dtype=torch.float64).cos()
LABEL = torch.tensor([0])


def loss(cosines, clouds, form, label=LABEL):
    clouds = torch.tensor([clouds], dtype=torch.float64)
    return cross_entropy(cloud_logits(cosines, label, clouds, 16.0, 0.2, form), label)


@pytest.mark.parametrize(
    ("form", "clouds", "expected"),
    [
        ("cosface", [0.0, 0.0, 0.0], 0.00649010),
        ("arcface", [0.0, 0.0, 0.0], 0.00161053),
        ("cosface", [0.3, -0.1, 0.2], 0.40662227),
        ("arcface", [0.3, -0.1, 0.2], 0.22296064),
        ("cosface", [0.3, 0.3, 0.3], 0.00110535),
    ],
)
def test_the_loss_and_its_gradient(form, clouds, expected):
    cosines = COSINES.clone().requires_grad_()
    found = loss(cosines, clouds, form)
    assert float(found.detach()) == pytest.approx(expected, abs=5e-9)
    assert torch.autograd.gradcheck(lambda each: loss(each, clouds, form), (cosines,))


@pytest.mark.parametrize("form", ["cosface", "arcface"])
def test_angles_are_bounded_without_gradients(form):
    cosines = torch.tensor([[0.9, 0.9, -0.9, 1.0, -1.0]], dtype=torch.float64).requires_grad_()
    clouds = torch.tensor([[0.1, -2.0, 2.0, 0.3, -0.3]], dtype=torch.float64)
    logits = cloud_logits(cosines, LABEL, clouds, 1.0, 0.0, form)[0]
    assert logits[1:3].tolist() == [1, -1]
    assert logits[3:].tolist() == pytest.approx([math.cos(0.3), math.cos(math.pi - 0.3)])
    (gradient,) = torch.autograd.grad(logits.sum(), cosines)
    assert gradient[0, 0] != 0
    assert gradient[0, 1:].tolist() == [0, 0, 0, 0]


def test_classes_below_the_pooled_variance_get_what_they_lack():
    counts, variances = (
        torch.tensor([100, 20, 5]),
        torch.tensor([0.09, 0.04, 0.01], dtype=torch.float64),
    )
    found = cloud_variances(variances, counts)
    assert found.tolist() == pytest.approx([0, 0.03959016, 0.06959016], abs=5e-9)
    assert not cloud_variances(torch.full((3,), 0.09, dtype=torch.float64), counts).gt(1e-15).any()
    assert cloud_variances(torch.zeros(2).double(), torch.tensor([1, 1])).tolist() == [0, 0]


def test_centers_move_most_of_the_way_and_angles_are_those_to_them():
    method = steps.begin(Case("leap"))
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    method.centers = type(method.centers)(4, 2, share=0.9)
    method.keep_angles(features[:1], torch.tensor([3]))
    method.keep_angles(features[1:], torch.tensor([3]))
    torch.testing.assert_close(
        method.centers.mean[3], torch.tensor([0.1, 0.9], dtype=torch.float64)
    )
    first = int(method.memory.first[3])
    found = method.memory.values[first : first + 2, 0].tolist()
    assert found == pytest.approx([0, math.atan(1 / 9)], abs=1e-6)


def test_clouds_begin_after_half_of_the_epochs_and_leave_large_variances_alone():
    method = steps.begin(Case("leap")).double()
    batch = steps.training_batch(method)
    for epoch in range(2):
        steps.begin_epoch(method, epoch)
        assert method.lacking.any() == (epoch == 1)
        method.training_loss(batch)
    large = int(method.memory.variances()[:, 0].argmax())
    assert method.lacking[large] == 0
    steps.begin_epoch(method, 1)
    cosines = method.network(batch.images) / 16
    noise = method.rng.normal(batch.labels, 4)
    clouds = method.lacking[batch.labels].sqrt()[:, None] * noise
    expected = cross_entropy(
        cloud_logits(cosines, batch.labels, clouds, 16.0, 0.2, "cosface"), batch.labels
    )
    torch.testing.assert_close(steps.loss_of(method, batch, 1), expected)


@pytest.mark.parametrize(("center_share", "gets_cloud"), [(0.9, False), (0.1, True)])
def test_slow_centers_give_clouds_to_a_small_class(center_share, gets_cloud):
    """The small class varies less, but is in some batches once and in others twice."""
    method = steps.build(Case("leap", {"center_share": center_share}), (200, 16, 1, 1)).double()
    generator = torch.Generator().manual_seed(0)
    method.centers = type(method.centers)(4, 32, share=method.centers.share)
    for batch in range(120):
        labels = torch.tensor([0] * 20 + [1] * (1 + batch % 2))
        spread = torch.where(labels == 0, 0.3, 0.2)[:, None]
        noise = torch.randn(len(labels), 32, dtype=torch.float64, generator=generator)
        method.keep_angles(torch.eye(2, 32).double()[labels] + spread * noise, labels)
    method.progress = Progress(1, 2, deferred=False)
    method.on_epoch_start(method.progress)
    assert bool(method.lacking[1] > 0) == gets_cloud


def test_hundreds_of_classes_have_a_larger_scale():
    resolver, names = HParamResolver(load_registry()), ("cifar100", "tinyimagenet32", "imagenet_lt")
    found = [resolver.resolve("leap", {}, load_dataset(name)).values["scale"] for name in names]
    assert found == [16, 16, 30]
