import pytest
import torch
from torchvision.transforms.v2 import functional as torchvision

from ltbench.augment import DistortionEpoch, distort, draw_distortion
from ltbench.augment.distortion import RADIUS, blur, hue
from ltbench.augment.operations import gray

IMAGES = torch.randint(
    256, (6, 3, 20, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def same(value):
    return torch.full((len(IMAGES),), value, dtype=torch.float64)


@pytest.mark.parametrize("turn", [-0.1, 0.0, 0.03, 0.1, 0.5])
def test_hues_turn_as_torchvision_turns_them(turn):
    expected = 255 * torchvision.adjust_hue(IMAGES.double() / 255, turn)
    torch.testing.assert_close(hue(IMAGES, same(turn)).double(), expected, rtol=0, atol=0.501)


def test_hues_of_grey_pixels_stay():
    images = gray(IMAGES).to(torch.uint8).expand_as(IMAGES)
    assert torch.equal(hue(images, same(0.1)), images)


@pytest.mark.parametrize("width", [0.1, 0.9, 2.0])
def test_blur_is_torchvisions_inside_and_keeps_flat_images(width):
    inside = (..., slice(RADIUS, -RADIUS), slice(RADIUS, -RADIUS))
    size = 2 * RADIUS + 1
    expected = torchvision.gaussian_blur(IMAGES.double(), [size, size], [width, width])
    blurred = blur(IMAGES, same(width)).double()
    torch.testing.assert_close(blurred[inside], expected[inside], rtol=0, atol=0.501)
    flat = torch.full_like(IMAGES, 77)
    assert torch.equal(blur(flat, same(width)), flat)


@pytest.mark.parametrize("change", [hue, blur])
def test_each_image_has_its_own_strength(change):
    amounts = torch.linspace(0.1, 2, len(IMAGES), dtype=torch.float64)
    together = change(IMAGES, amounts)
    for i in range(len(IMAGES)):
        assert torch.equal(together[i : i + 1], change(IMAGES[i : i + 1], amounts[i : i + 1]))


def test_distortion_is_reproducible():
    draws = [distort(IMAGES, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].dtype == torch.uint8


def test_probabilities_of_distortion():
    images = IMAGES[:1, :, :4, :4].expand(4000, -1, -1, -1)
    distorted = distort(images, torch.Generator().manual_seed(0), blurred=0.0)
    kept = (distorted == images).flatten(1).all(dim=1)
    greyed = (distorted == distorted[:, :1]).flatten(1).all(dim=1)
    assert kept.double().mean() == pytest.approx(0.2 * 0.8, abs=0.02)
    assert greyed.double().mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("blurred", [0.0, 0.5])
def test_an_epoch_is_its_batches_one_by_one(blurred):
    params = draw_distortion(3, 6, torch.Generator().manual_seed(0), blurred=blurred)
    assert params.orders.shape == (3, 4)
    assert (params.widths is None) == (blurred == 0)
    epoch = DistortionEpoch(params, "cpu")
    steps = [epoch(step, IMAGES) for step in range(3)]
    assert not any(torch.equal(steps[0], other) for other in steps[1:])
    for step, images in enumerate(steps):
        for row in range(6):
            one = params.map(lambda values, row=row: values[:, row : row + 1])
            alone = DistortionEpoch(one, "cpu")(step, IMAGES[row : row + 1])
            assert torch.equal(alone, images[row : row + 1])


def test_gray_images_change_in_brightness_and_contrast():
    images = gray(IMAGES).to(torch.uint8)
    distorted = distort(images, torch.Generator().manual_seed(0), blurred=0.0)
    assert distorted.shape == images.shape
    assert distorted.dtype == torch.uint8
    assert not torch.equal(distorted, images)
    assert torch.equal(hue(images, same(0.1)), images)
