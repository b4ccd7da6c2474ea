import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, RandomResizedCrop
from torchvision.transforms import functional as reference

from ltbench.augment import CropParams, center_boxes, crop_boxes, draw_crops, resize
from ltbench.augment.resized_crop import AREA, SIDES, TRIES


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photograph(height, width, seed=0):
    """A smooth picture with edges and noise, uint8 [3, H, W]."""
    rows = torch.linspace(0, 6, height)[:, None]
    columns = torch.linspace(0, 4, width)
    smooth = torch.stack([rows.sin() * columns.cos(), (rows + columns).sin(), rows.cos() + columns])
    noise = torch.rand(3, height, width, generator=generator(seed)) * (columns > 2)
    return ((smooth + noise + 1) * 50).clamp(0, 255).to(torch.uint8)


def crops_of(count, seed, *, flip=True):
    return draw_crops(1, count, generator(seed), flip=flip).map(lambda values: values[0])


def windows_of(images, boxes):
    """The windows in the upper left of a common buffer, floats."""
    height, width = boxes[:, 2].max(), boxes[:, 3].max()
    buffer = torch.zeros(len(images), 3, height, width, dtype=torch.float64)
    for image, target, (top, left, h, w) in zip(images, buffer, boxes.tolist(), strict=True):
        target[:, :h, :w] = image[:, top : top + h, left : left + w]
    return buffer


SIZES = torch.tensor([[64, 90], [64, 64], [101, 64], [64, 333], [20, 30]])


def test_same_pixels_as_torchvision():
    images = [photograph(*size) for size in SIZES.tolist()]
    draws = crops_of(len(images), 1)
    boxes = crop_boxes(draws, SIZES)
    mirrored = draws.mirrored < 0.5
    assert 0 < mirrored.sum() < len(images)
    ours = resize(windows_of(images, boxes), boxes[:, 2:], 32, mirrored)
    for image, box, flipped, found in zip(images, boxes.tolist(), mirrored, ours, strict=True):
        exact = reference.resized_crop(image.double(), *box, (32, 32), antialias=True)
        exact = reference.hflip(exact) if flipped else exact
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)
        pillow = reference.resized_crop(
            Image.fromarray(image.permute(1, 2, 0).numpy()), *box, (32, 32)
        )
        pillow = reference.pil_to_tensor(reference.hflip(pillow) if flipped else pillow)
        assert (found - pillow).abs().max() <= 1.01  # it rounds after each side


def test_an_unscaled_window_is_as_it_was():
    images = [photograph(40, 50), photograph(50, 40)]
    boxes = center_boxes(torch.tensor([[40, 50], [50, 40]]), 32)
    ours = resize(windows_of(images, boxes), boxes[:, 2:], 32)
    for image, found in zip(images, ours, strict=True):
        assert torch.equal(found, CenterCrop(32)(image).double())


@given(st.integers(8, 60), st.integers(8, 60), st.integers(1, 8))
def test_the_middle_is_torchvisions(height, width, side):
    image = torch.arange(height * width).view(1, height, width)
    (top, left, h, w) = center_boxes(torch.tensor([[height, width]]), side)[0].tolist()
    assert torch.equal(image[:, top : top + h, left : left + w], CenterCrop(side)(image))


def one_by_one(draws, sizes):
    """The windows by the words of the method, in plain Python."""
    boxes = []
    for k, (height, width) in enumerate(sizes.tolist()):
        for u, v in draws.shapes[k].tolist():
            area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * u)
            side = math.exp(math.log(SIDES[0]) + (math.log(SIDES[1]) - math.log(SIDES[0])) * v)
            h, w = round(math.sqrt(area / side)), round(math.sqrt(area * side))
            if 0 < h <= height and 0 < w <= width:
                row, column = draws.corners[k].tolist()
                boxes.append([int(row * (height - h + 1)), int(column * (width - w + 1)), h, w])
                break
        else:
            boxes.append(
                list(RandomResizedCrop.get_params(torch.zeros(3, height, width), [2, 2], [1, 1]))
            )
    return boxes


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 400), st.integers(1, 400))
def test_parts_are_of_the_allowed_sizes_and_inside(seed, height, width):
    draws = crops_of(16, seed)
    sizes = torch.tensor([[height, width]]).expand(16, 2)
    boxes = crop_boxes(draws, sizes)
    top, left, h, w = boxes.unbind(dim=1)
    assert all((values >= 0).all() for values in (top, left, h - 1, w - 1))
    assert (top + h <= height).all()
    assert (left + w <= width).all()


def test_same_parameters_one_by_one():
    sizes = torch.tensor([[256, 341], [400, 256], [256, 256], [7, 5], [1, 1]]).repeat(20, 1)
    draws = crops_of(len(sizes), 3, flip=False)
    assert draws.mirrored is None
    assert crop_boxes(draws, sizes).tolist() == one_by_one(draws, sizes)


@pytest.mark.parametrize("size", [(1, 50), (50, 1), (3, 90), (90, 3), (1, 1)])
def test_where_no_part_fits_the_middle_is_torchvisions(size):
    draws = CropParams(torch.ones(1, TRIES, 2).double(), torch.zeros(1, 2).double(), None)
    found = crop_boxes(draws, torch.tensor([size]))[0].tolist()
    expected = RandomResizedCrop.get_params(torch.zeros(3, *size), [1.0, 1.0], list(SIDES))
    if size != (1, 1):
        assert tuple(found) == expected


def test_parts_cover_the_field_uniformly():
    draws = crops_of(20_000, 5)
    sizes = torch.tensor([[256, 341]]).expand(20_000, 2)
    boxes = crop_boxes(draws, sizes).double()
    share = boxes[:, 2] * boxes[:, 3] / (256 * 341)
    torch.manual_seed(0)
    theirs = torch.tensor(
        [
            RandomResizedCrop.get_params(torch.zeros(3, 256, 341), list(AREA), list(SIDES))
            for _ in range(4000)
        ]
    ).double()
    theirs_share = theirs[:, 2] * theirs[:, 3] / (256 * 341)
    assert float(share.mean() - theirs_share.mean()) == pytest.approx(0, abs=0.01)
    for column in range(4):
        ratio = boxes[:, column].mean() / theirs[:, column].mean()
        assert float(ratio) == pytest.approx(1, abs=0.03)
    assert float((draws.mirrored < 0.5).double().mean()) == pytest.approx(0.5, abs=0.02)
