import pytest
import torch

from ltbench.augment import Placement, ResidentImages, draw_placement

MEAN, STD = (0.2, 0.5, 0.7), (0.3, 0.25, 0.2)
EXACT = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 1e-2}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(channels=3, height=6, width=5):
    return torch.randint(
        256, (7, channels, height, width), dtype=torch.uint8, generator=generator()
    )


def one_by_one(images, index, placement, padding):
    """Pad, cut, mirror and normalise each image for itself, in float64."""
    cut = []
    for k, top, left, mirrored in zip(index, *placement, strict=True):
        _, height, width = images[k].shape
        canvas = torch.zeros(3, height + 2 * padding, width + 2 * padding, dtype=torch.float64)
        canvas[:, padding : padding + height, padding : padding + width] = images[k]
        window = canvas[:, top : top + height, left : left + width]
        cut.append(window.flip(-1) if mirrored else window)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    return (torch.stack(cut) / 255 - mean) / std


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_equals_images_handled_one_by_one(padding, dtype, channels_last):
    images = pixels()
    resident = ResidentImages(
        images, MEAN, STD, padding=padding, dtype=dtype, channels_last=channels_last
    )
    drawn = draw_placement(1, 40, padding, generator(), flip=True)
    placement = drawn.map(lambda values: values[0])
    index = torch.randint(7, (40,), generator=generator(1))
    got = resident(index, placement)
    expected = one_by_one(images, index, placement, padding)
    assert got.dtype == dtype
    assert got.shape == (40, 3, 6, 5)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert got.is_contiguous(memory_format=layout)
    torch.testing.assert_close(got.double(), expected, rtol=EXACT[dtype], atol=EXACT[dtype])


def test_both_layouts_hold_the_same_bits():
    index = torch.arange(7)
    plain = ResidentImages(pixels(), MEAN, STD, padding=2)
    last = ResidentImages(pixels(), MEAN, STD, padding=2, channels_last=True)
    placement = draw_placement(1, 7, 2, generator(), flip=True).map(lambda values: values[0])
    assert torch.equal(plain(index, placement), last(index, placement))


def test_without_placement_images_are_as_they_are():
    images = pixels()
    middle = Placement(torch.full((7,), 2), torch.full((7,), 2), None)
    resident = ResidentImages(images, MEAN, STD, padding=2)
    assert torch.equal(resident(torch.arange(7)), resident(torch.arange(7), middle))
    unpadded = ResidentImages(images, MEAN, STD)
    assert torch.equal(resident(torch.arange(7)), unpadded(torch.arange(7)))


def test_one_channel():
    images = pixels(channels=1)
    got = ResidentImages(images, (0.5,), (0.25,), padding=1)(torch.tensor([3]))
    torch.testing.assert_close(got[0, 0], (images[3, 0] / 255 - 0.5) / 0.25)


def test_draws_cover_all_windows_evenly():
    placement = draw_placement(50, 200, 2, generator(), flip=True)
    assert placement.top.shape == (50, 200)
    windows = torch.bincount((placement.top * 5 + placement.left).flatten(), minlength=25)
    assert len(windows) == 25
    assert (windows / 10_000 - 1 / 25).abs().max() < 0.01
    assert (placement.mirrored.double().mean() - 0.5).abs() < 0.02
    assert not torch.equal(placement.top, placement.left)


def test_no_crop_and_no_flip_draw_nothing():
    placement = draw_placement(2, 3, 0, generator(), flip=False)
    assert placement.top.eq(0).all()
    assert placement.left.eq(0).all()
    assert placement.mirrored is None
