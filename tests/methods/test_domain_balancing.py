"""Domain balancing: indicators, margins by them, and gated residual features."""

import math

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import cross_entropy, ldam
from ltbench.losses.vector_scaling import vector_scaling
from ltbench.methods.rebalancing.domain_balancing import compactness, indicators
from ltbench.testing import steps
from ltbench.testing.jobs import Case

ANGLES = torch.tensor([0.0, 30.0, 120.0], dtype=torch.float64).deg2rad()
WEIGHT = 3 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
SPREAD = {"indicator_scale": 16.0}  # so that four classes have other indicators
CASE = Case("domain_balancing", {"warm_up": 0.0, **SPREAD})


def test_compactness_and_the_papers_indicators():
    found = compactness(WEIGHT, 2, 4.0)
    assert found.tolist() == pytest.approx([3.46832881, 3.49492284, 0.12692801], abs=5e-9)
    beta = indicators(found, epsilon=1.0)
    assert beta.tolist() == pytest.approx([0.28832330, 0.28612935, 7.87848160], abs=5e-8)


def test_compactness_is_single_precision_under_autocast():
    weight = WEIGHT.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = compactness(weight, 2, 16.0)
    assert found.dtype == torch.float32
    assert found.equal(compactness(weight, 2, 16.0))


def test_indicators_have_mean_one_and_bounds():
    found = indicators(torch.tensor([2.0, 4.0, 4.0]))
    assert found.tolist() == pytest.approx([1.5, 0.75, 0.75])
    low = indicators(torch.tensor([-3.0, 0.5, 1.0]))
    assert low.tolist() == pytest.approx([1, 1, 1])
    assert indicators(torch.tensor([1.0, *[100.0] * 9])).max() == 3


def test_of_few_classes_that_lie_apart_compactness_is_below_zero():
    simplex = torch.eye(10, dtype=torch.float64) - 0.1
    found = compactness(simplex, 9, 64.0)
    torch.testing.assert_close(found, torch.full_like(found, math.log(9) - 64 / 9))
    torch.testing.assert_close(indicators(found), torch.ones_like(found))


@pytest.mark.parametrize(
    ("label", "expected"), [(0, 0.81424917), (1, 1.02846133), (2, 16.94416803)]
)
def test_the_loss_and_its_gradient(label, expected):
    angle = torch.tensor(10.0, dtype=torch.float64).deg2rad()
    feature = torch.stack([angle.cos(), angle.sin()])[None].requires_grad_()
    weight = WEIGHT.clone().requires_grad_()
    label = torch.tensor([label])
    margins = 0.35 * indicators(compactness(weight, 2, 4.0), epsilon=1.0)
    assert not margins.requires_grad

    def loss(feature, weight):
        cosines = F.normalize(feature) @ F.normalize(weight).T
        return vector_scaling(cosines, label, margins=margins, scale=4.0)

    assert float(loss(feature, weight).detach()) == pytest.approx(expected, abs=5e-8)
    assert torch.autograd.gradcheck(loss, (feature, weight))


def test_a_step_has_the_margins_of_its_indicators_and_gates_that_learn_them():
    method = steps.begin(CASE).double()
    batch = steps.training_batch(method)
    steps.begin_epoch(method)
    weight = method.network.classifier.weight
    beta = indicators(compactness(weight, 2, 16.0))
    assert beta.unique().numel() > 1
    features = method.network.features(batch.images)
    gates = method.network.balancing.gate(features)[:, 0]
    moved = features + gates[:, None] * method.network.balancing.residual(features)
    cosines = F.normalize(moved) @ F.normalize(weight).T
    shifted = cosines - 0.35 * F.one_hot(batch.labels, 4) * beta
    found = method.training_loss(batch)
    torch.testing.assert_close(found["classes"], cross_entropy(30 * shifted, batch.labels))
    torch.testing.assert_close(found["gates"], 0.01 * F.mse_loss(gates, beta[batch.labels]))
    (of_gates,) = torch.autograd.grad(found["gates"], weight, allow_unused=True)
    assert of_gates is None


def test_margins_are_equal_at_first():
    method = steps.begin(Case("domain_balancing", SPREAD)).double()
    batch = steps.training_batch(method)
    steps.begin_epoch(method)
    assert method.indicators().eq(1).all()
    cosines = method.network(batch.images) / 30
    found = method.training_loss(batch)["classes"]
    equal = ldam(cosines, batch.labels, torch.full((4,), 7), max_margin=0.35, scale=30.0)
    torch.testing.assert_close(found, equal)
    steps.begin_epoch(method, 1)
    assert not method.indicators().eq(1).all()


def test_without_gates_features_stay():
    method = steps.begin(CASE)
    batch = steps.training_batch(method)
    network = method.network.eval()
    for parameter in network.balancing.gate.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(
        network(batch.images), network.classifier(network.features(batch.images))
    )


def test_without_residuals_it_is_a_margin_loss_of_plain_features():
    method = steps.begin(Case("domain_balancing", {"residual": False, "warm_up": 1.0})).double()
    batch = steps.evaluation_batch(method)
    network = method.network
    cosines = network.classifier(network.features(batch.images)) / 30
    margins = torch.full((len(method.counts),), 0.35, dtype=torch.float64)
    expected = vector_scaling(cosines, batch.labels, margins=margins, scale=30.0)
    torch.testing.assert_close(method.training_loss(batch), expected)
    assert not any("balancing" in name for name, _ in network.named_parameters())
