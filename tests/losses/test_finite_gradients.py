"""Square root and arc cosine at the ends of their domains."""

import math

import pytest
import torch

from ltbench.losses.finite_gradients import angles, root


def test_angles_of_cosines():
    found = angles(torch.tensor([1.0, 1 + 1e-7, 0.5, -0.5, -1.0, -1 - 1e-7]))
    third = math.pi / 3
    assert found.tolist() == pytest.approx([0, 0, third, 2 * third, math.pi, math.pi])


def test_angles_have_no_gradient_at_their_ends():
    cosines = torch.tensor([1.0, 0.5, -1.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(angles(cosines).sum(), cosines)
    assert gradient.tolist() == pytest.approx([0, -1 / math.sqrt(0.75), 0])


def test_roots_have_no_gradient_at_zero():
    squares = torch.tensor([0.0, 4.0], requires_grad=True)
    found = root(squares)
    (gradient,) = torch.autograd.grad(found.sum(), squares)
    assert found.tolist() == [0, 2]
    assert gradient.tolist() == [0, 0.25]
