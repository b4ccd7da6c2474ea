import pytest
import torch

from ltbench.augment import CropFlipParams, draw_crop_flip
from ltbench.data.fixed_size import FixedSizeBatches

MEAN, STD = (0.2, 0.5, 0.7), (0.3, 0.25, 0.2)
EXACT = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 1e-2}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(channels=3, height=6, width=5):
    return torch.randint(
        256, (7, channels, height, width), dtype=torch.uint8, generator=generator()
    )


def one_by_one(images, index, placement, padding):
    """Pad, cut, mirror and normalize each image alone, in float64."""
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
    maker = FixedSizeBatches(
        images, MEAN, STD, padding=padding, dtype=dtype, channels_last=channels_last
    )
    drawn = draw_crop_flip(1, 40, padding, generator(), flip=True)
    placement = drawn.map(lambda values: values[0])
    index = torch.randint(7, (40,), generator=generator(1))
    got = maker(index, placement)
    expected = one_by_one(images, index, placement, padding)
    assert got.dtype == dtype
    assert got.shape == (40, 3, 6, 5)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert got.is_contiguous(memory_format=layout)
    torch.testing.assert_close(got.double(), expected, rtol=EXACT[dtype], atol=EXACT[dtype])


def test_both_layouts_hold_the_same_bits():
    index = torch.arange(7)
    plain = FixedSizeBatches(pixels(), MEAN, STD, padding=2)
    last = FixedSizeBatches(pixels(), MEAN, STD, padding=2, channels_last=True)
    placement = draw_crop_flip(1, 7, 2, generator(), flip=True).map(lambda values: values[0])
    assert torch.equal(plain(index, placement), last(index, placement))


def test_without_parameters_images_are_not_augmented():
    images = pixels()
    middle = CropFlipParams(torch.full((7,), 2), torch.full((7,), 2), None)
    maker = FixedSizeBatches(images, MEAN, STD, padding=2)
    assert torch.equal(maker(torch.arange(7)), maker(torch.arange(7), middle))
    unpadded = FixedSizeBatches(images, MEAN, STD)
    assert torch.equal(maker(torch.arange(7)), unpadded(torch.arange(7)))


def test_one_channel():
    images = pixels(channels=1)
    got = FixedSizeBatches(images, (0.5,), (0.25,), padding=1)(torch.tensor([3]))
    torch.testing.assert_close(got[0, 0], (images[3, 0] / 255 - 0.5) / 0.25)


def test_an_epoch_is_its_batches_one_by_one():
    maker = FixedSizeBatches(pixels(), MEAN, STD, padding=2, flip=True)
    params = maker.draw(3, 4, lambda _: generator())
    assert params.mirrored is not None
    index = torch.randint(7, (3, 4), generator=generator(1))
    for first in range(3):
        batches = maker.epoch(index, params, lambda step, images: images + step, first)
        for step, batch in enumerate(batches, first):
            here = params.map(lambda values, step=step: values[step])
            expected = maker(index[step], here, lambda images, step=step: images + step)
            assert torch.equal(batch, expected)
        assert step == 2
