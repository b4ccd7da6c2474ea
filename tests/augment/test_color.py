import pytest
import torch
from PIL import Image
from torchvision.transforms import ColorJitter
from torchvision.transforms import functional as reference

from ltbench.augment import draw_jitter, jitter

OPERATIONS = (
    reference.adjust_brightness,
    reference.adjust_contrast,
    reference.adjust_saturation,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def params_of(batch, seed=0, strength=0.4):
    return draw_jitter(1, batch, strength, generator(seed)).map(lambda values: values[0])


def one_by_one(images, draws):
    out = []
    for image, factors, order in zip(
        images, draws.factors.tolist(), draws.order.tolist(), strict=True
    ):
        for which in order:
            image = OPERATIONS[which](image, factors[which])
        out.append(image)
    return out


def test_same_colors_as_torchvision():
    images = torch.rand(24, 3, 9, 11, generator=generator(1))
    draws = params_of(24)
    assert len({tuple(order) for order in draws.order.tolist()}) == 6
    expected = torch.stack(one_by_one(images, draws))
    torch.testing.assert_close(jitter(images, draws), expected, rtol=0, atol=2e-6)


def test_pillow_differs_by_its_rounding():
    pixels = torch.randint(256, (8, 3, 12, 12), dtype=torch.uint8, generator=generator(2))
    draws = params_of(8, seed=3)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels]
    expected = torch.stack([reference.pil_to_tensor(p) for p in one_by_one(pictures, draws)])
    found = 255 * jitter(pixels / 255, draws)
    assert (found - expected).abs().max() < 3.5  # each of three steps rounds or cuts off


def test_no_strength_no_change():
    images = torch.rand(4, 3, 5, 5, generator=generator(4))
    torch.testing.assert_close(
        jitter(images, params_of(4, strength=0.0)), images, rtol=0, atol=1e-6
    )


def test_factors_and_orders_are_uniform():
    draws = draw_jitter(100, 60, 0.4, generator(5))
    assert draws.factors.min() >= 0.6
    assert draws.factors.max() <= 1.4
    assert float(draws.factors.mean()) == pytest.approx(1, abs=0.01)
    codes = draws.order.flatten(0, 1) @ torch.tensor([9, 3, 1])
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 6
    assert (counts - 1000).abs().max() < 150
    assert ColorJitter(0.4).brightness == (0.6, 1.4)
