"""LTML's weights of binary losses: worked examples and limits. There is no oracle."""

import pytest
import torch

from ltbench.losses import balancing_weights, binary

LOGITS = torch.tensor([[1.0, -0.5, -1.0]]).double()
TARGETS = torch.tensor([[True, False, False]])


def test_worked_examples():
    assert float(binary(LOGITS, TARGETS) / 3) == pytest.approx(0.36686679, abs=5e-9)
    weights = balancing_weights(TARGETS, torch.tensor([7, 2, 1]))
    expected = [1.34985881, 1.22140276, 1.10517092]
    assert weights[0].tolist() == pytest.approx(expected, abs=5e-9)
    assert float(binary(LOGITS, TARGETS, weights) / 3) == pytest.approx(0.44936856, abs=5e-9)


def test_equal_counts_weigh_positives_alike():
    weights = balancing_weights(TARGETS, torch.full((3,), 5))
    torch.testing.assert_close(weights[0, 1], weights[0, 2])
    assert weights[0, 0] > weights[0, 1]


def test_arguments_that_they_cannot_take():
    with pytest.raises(ValueError, match="targets: expected shape"):
        balancing_weights(TARGETS[:, :2], torch.tensor([3, 1, 2]))
    with pytest.raises(ValueError, match="without training images: 1"):
        balancing_weights(TARGETS, torch.tensor([3, 0, 2]))
