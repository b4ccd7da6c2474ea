"""bfloat16 products on a CPU without arithmetic for them."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltbench.training.bf16_emulation import EmulatedBFloat16, round_bfloat16

ULP = 2**-8  # bfloat16 keeps 8 bits
SHAPES = {"conv2d": ((4, 16, 9, 9), (32, 16, 3, 3)), "linear": ((16, 40), (10, 40))}


def factors(name: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, weight = SHAPES[name]
    shapes = (images, weight, weight[:1])
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("name", SHAPES)
def test_outputs_and_gradients_are_exact_and_rounded_once(name):
    function = getattr(F, name)
    given = factors(name)
    with torch.autocast("cpu", torch.bfloat16), EmulatedBFloat16():
        product = function(*given)
    assert product.dtype == torch.bfloat16
    exact = [round_bfloat16(factor.detach()).double().requires_grad_() for factor in given]
    expected = function(*exact)
    torch.testing.assert_close(product.double(), expected, rtol=ULP, atol=1e-6)

    slope = torch.randn(product.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = torch.autograd.grad(product, given, slope)
    for gradient, exact_gradient in zip(
        found, torch.autograd.grad(expected, exact, slope.double()), strict=True
    ):
        assert gradient.dtype == torch.float32
        assert torch.equal(gradient, gradient.bfloat16().float())
        torch.testing.assert_close(gradient.double(), exact_gradient, rtol=ULP, atol=1e-5)


def test_a_network_predicts_as_under_plain_autocast():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 9, 10),
    )  # fmt: skip
    images = torch.randn(6, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        plain = copy.deepcopy(network)(images)
        with EmulatedBFloat16():
            logits = network(images)
    torch.testing.assert_close(logits, plain, rtol=4 * ULP, atol=4 * ULP)


@pytest.mark.parametrize("name", SHAPES)
def test_without_autocast_and_in_float64_nothing_is_rounded(name):
    function = getattr(F, name)
    given = factors(name)
    doubles = [factor.double() for factor in given]
    with EmulatedBFloat16():
        assert torch.equal(function(*given), function(*factors(name)))
        with torch.autocast("cpu", torch.bfloat16):
            product = function(*doubles)
    assert torch.equal(product, function(*doubles))
