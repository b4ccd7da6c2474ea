import torch

from ltbench.augment import draw_crop_flip


def generator():
    return torch.Generator().manual_seed(0)


def test_crops_cover_all_windows_uniformly():
    drawn = draw_crop_flip(50, 200, 2, generator(), flip=True)
    assert drawn.top.shape == (50, 200)
    windows = torch.bincount((drawn.top * 5 + drawn.left).flatten(), minlength=25)
    assert len(windows) == 25
    assert (windows / 10_000 - 1 / 25).abs().max() < 0.01
    assert (drawn.mirrored.double().mean() - 0.5).abs() < 0.02
    assert not torch.equal(drawn.top, drawn.left)


def test_no_crop_and_no_flip_draw_nothing():
    drawn = draw_crop_flip(2, 3, 0, generator(), flip=False)
    assert drawn.top.eq(0).all()
    assert drawn.left.eq(0).all()
    assert drawn.mirrored is None
