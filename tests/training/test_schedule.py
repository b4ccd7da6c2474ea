import math

import pytest
import torch

from ltbench.config.recipe import Optimizer, Schedule
from ltbench.methods import METHODS
from ltbench.networks import NetworkSpec
from ltbench.training.schedule import build_optimizer, schedule_factor


def factors(epochs, **schedule):
    return [schedule_factor(Schedule(**schedule), epoch, epochs) for epoch in range(1, epochs + 1)]


def test_a_cosine_schedule_starts_at_the_full_rate_and_ends_above_zero():
    assert factors(4, kind="cosine") == pytest.approx(
        [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    )


def test_a_step_schedule_drops_after_its_milestones():
    expected = [1, 1, 0.1, 0.1, 0.01]
    assert factors(5, kind="step", milestones=(2, 4)) == pytest.approx(expected)


def test_a_linear_schedule_reaches_zero_after_the_last_epoch():
    assert factors(4, kind="linear") == pytest.approx([1, 0.75, 0.5, 0.25])
    assert factors(5, kind="linear", warmup=2) == pytest.approx([0.5, 1, 0.75, 0.5, 0.25])


def test_warm_up_ends_at_the_full_rate():
    assert factors(4, kind="constant", warmup=2) == [0.5, 1, 1, 1]
    assert factors(4, kind="step", warmup=2, milestones=(1, 3)) == [0.5, 1, 0.1, 0.1**2]
    assert factors(4, kind="cosine", warmup=2)[:3] == pytest.approx([0.5, 1, 0.5])


class Decayed(METHODS["softmax"]):
    """Softmax whose classifier has weight decays of its own."""

    def weight_decay_scale(self, parameter):
        return 3.0 if parameter.startswith("network.backbone.") else 1.0

    def weight_decay(self, parameter, recipe):
        if parameter == "network.classifier.weight":
            return 0.125
        return super().weight_decay(parameter, recipe)


@pytest.mark.parametrize("recipe", [0.0, 2e-4])
def test_weight_decay_is_relative_to_the_recipe_or_a_value(recipe):
    method = Decayed(NetworkSpec("resnet8", 4), torch.tensor([9, 4, 2, 1]))
    optimizer = build_optimizer(Optimizer(lr=0.1, weight_decay=recipe), method)
    found = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    decays = {name: found[p] for name, p in method.named_parameters()}
    assert decays.pop("network.classifier.weight") == 0.125
    assert decays.pop("network.classifier.bias") == recipe
    assert set(decays.values()) == {3 * recipe}
