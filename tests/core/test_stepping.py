import math

import pytest
import torch
from torch import nn
from torch.optim import SGD

from ltbench.core.stepping import ActiveSteps, Stepper, total_loss

INPUTS = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))


def model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))


def optimizer_of(network):
    return SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def test_steps_are_those_of_a_plain_loop_bit_for_bit():
    ours, theirs = model(), model()
    stepper, optimizer = Stepper(optimizer_of(ours), torch.Tensor.backward), optimizer_of(theirs)
    losses = []
    for inputs in INPUTS:
        stepper.step(ours(inputs).square().mean())
        loss = theirs(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(a.equal(b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert stepper.steps == len(INPUTS)
    assert stepper.mean_loss() == pytest.approx(sum(losses) / len(losses), rel=1e-15)


def test_named_losses_are_summed():
    first, second = torch.tensor(1.5, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    total = total_loss({"first": first, "second": second * second})
    total.backward()
    assert total == 5.5
    assert (first.grad, second.grad) == (1, 4)
    assert total_loss(first) is first


def test_a_step_calls_the_backward_function():
    network, seen = model(), []

    def backward(loss):
        seen.append(loss)
        loss.backward()

    loss = network(INPUTS[0]).mean()
    Stepper(optimizer_of(network), backward).step(loss)
    assert seen == [loss]


def test_the_mean_loss_resets_and_shows_non_finite_losses():
    weight = nn.Parameter(torch.zeros(()))
    stepper = Stepper(SGD([weight], lr=0.0), torch.Tensor.backward)
    for value in (1.0, 2.0):
        stepper.step(weight + value)
    assert stepper.mean_loss() == 1.5
    assert stepper.steps == 0
    stepper.step(weight + 4.0)
    assert stepper.mean_loss() == 4.0
    stepper.step(weight + math.inf)
    stepper.step(weight + 1.0)
    assert math.isinf(stepper.mean_loss())
    assert math.isnan(stepper.mean_loss())


def test_steps_in_which_a_named_loss_is_not_zero_are_counted():
    zero, one = torch.zeros(()), torch.ones(())
    steps = ActiveSteps(("pull", "push", "never"))
    for loss in (
        {"classes": one, "pull": one, "push": zero},
        {"classes": one, "pull": zero},
        {"classes": one, "pull": -one, "push": zero},
        one,
    ):
        steps.add(loss)
    assert steps.counts() == {"pull": [2, 3], "push": [0, 2]}
    steps.add({"push": one})
    assert steps.counts() == steps.counts() == {"pull": [2, 3], "push": [1, 3]}
    steps.reset()
    assert steps.counts() == {}


def test_the_count_of_an_epoch_goes_on_where_it_was_saved():
    steps, saved = ActiveSteps(("pull",)), {"pull": [3, 5]}
    steps.resume(saved)
    steps.add({"pull": torch.ones(())})
    assert steps.counts() == {"pull": [4, 6]}
    assert saved == {"pull": [3, 5]}
