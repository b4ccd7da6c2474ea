import math

import pytest

from ltbench.config.models import Schedule
from ltbench.training.schedule import schedule_factor


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
