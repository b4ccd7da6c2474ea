"""Virtual steps and learned parameters: exact gradients, on any number of ranks."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from ltbench.core.inner import Learned, rank_mean, virtual_step
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.testing.ranks import ranks
from tests.support.collectives import FEATURES, meta_gradient

STEP = 1e-4


@pytest.fixture(params=["batch", "group"])
def network(request):
    torch.manual_seed(0)
    backbone, width = build_backbone(NetworkSpec("resnet8", 4, 3, request.param))
    return Network(backbone, nn.Linear(width, 4)).double().train()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.randint(4, (2, 6), generator=generator)


def test_a_meta_gradient_is_that_of_finite_differences(network, batches):
    """Weights of images, in a step that the loss of other images judges."""
    (images, others), (labels, wanted) = batches
    weights = torch.linspace(0.2, 1.2, 6, dtype=torch.float64)

    def after_a_real_step(weights):
        """Return the loss after a step of SGD, without a graph through it."""
        other = copy.deepcopy(network)
        optimizer = torch.optim.SGD(other.parameters(), lr=0.3, weight_decay=0.01)
        (weights * F.cross_entropy(other(images), labels, reduction="none")).mean().backward()
        optimizer.step()
        return float(F.cross_entropy(other(others), wanted).detach())

    variable = weights.clone().requires_grad_()
    state = {name: buffer.clone() for name, buffer in network.named_buffers()}
    parameters = dict(network.named_parameters())
    logits = functional_call(network, (parameters, state), (images,))
    loss = (variable * F.cross_entropy(logits, labels, reduction="none")).mean()
    moved = virtual_step(loss, parameters, lr=0.3, weight_decay=0.01)
    loss = F.cross_entropy(functional_call(network, (moved, state), (others,)), wanted)
    (gradient,) = torch.autograd.grad(loss, variable)

    assert float(loss.detach()) == pytest.approx(after_a_real_step(weights), rel=1e-12)
    for row in (0, 3):
        shift = STEP * F.one_hot(torch.tensor(row), 6)
        rise = after_a_real_step(weights + shift) - after_a_real_step(weights - shift)
        assert float(gradient[row]) == pytest.approx(rise / (2 * STEP), rel=1e-6)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_have_the_meta_gradient_of_one_process(world):
    rows = torch.randn(8, FEATURES + 1, generator=torch.Generator().manual_seed(2)).double()
    power = torch.tensor([0.1, -0.2], dtype=torch.float64)
    expected = meta_gradient(rows, power)
    answers = ranks(world)(meta_gradient, rows, power)
    for answer in answers:
        for found, value in zip(answer, expected, strict=True):
            assert found == pytest.approx(value, rel=1e-13)
    assert all(answer == answers[0] for answer in answers)


def test_the_mean_of_one_rank_is_its_value():
    value = torch.ones(2, requires_grad=True)
    assert rank_mean(value) is value


SGD = partial(torch.optim.SGD, momentum=0.9, nesterov=True)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("sgd", SGD)])
def test_learned_parameters_move_as_by_an_optimizer(name, kind, weight_decay):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    reference, inputs = copy.deepcopy(module), torch.randn(5, 7, 3, dtype=torch.float64)
    optimizer = kind(reference.parameters(), 0.01, weight_decay=weight_decay)
    learned = Learned(module, 0.01, weight_decay, name)
    assert not any(parameter.requires_grad for parameter in learned.parameters())
    for step, rows in enumerate(inputs):
        variables = learned.variables()
        learned.step(functional_call(module, variables, (rows,)).square().mean(), variables)
        optimizer.zero_grad()
        reference(rows).square().mean().backward()
        optimizer.step()
        for ours, theirs in zip(module.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-14)
        assert int(learned.steps) == step + 1


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_learned_parameters_go_on_from_their_state(optimizer):
    def moved(learned, times):
        for _ in range(times):
            variables = learned.variables()
            learned.step(variables["value"].square().sum(), variables)
        return learned

    def new():
        module = nn.ParameterDict({"value": torch.tensor([1.0, -2.0])})
        return Learned(module, lr=0.1, optimizer=optimizer)

    whole, resumed = moved(new(), 5), new()
    resumed.load_state_dict(moved(new(), 2).state_dict())
    assert moved(resumed, 3).module["value"].equal(whole.module["value"])
