"""Every operation against torchvision's, image by image."""

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from ltbench.augment.operations import FILL, OPERATIONS

SHAPES = [(3, 32, 32), (1, 8, 8), (3, 7, 12)]
STRONGEST = {
    **dict.fromkeys(("ShearX", "ShearY"), 0.3),
    **dict.fromkeys(("TranslateX", "TranslateY"), 6.0),
    "Rotate": 30.0,
    **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9),
}


def images(shape, count=48):
    """Return noise of low and high contrast, and a constant image."""
    generator = torch.Generator().manual_seed(0)
    top = torch.randint(20, 256, (count, shape[0], 1, 1), generator=generator)
    noise = (torch.rand(count, *shape, generator=generator) * top).to(torch.uint8)
    noise[0] = 77
    return noise


def strengths(name, count=48):
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if name == "Posterize":
        return (uniform * 9).trunc()
    if name == "Solarize":
        return (uniform * 256).trunc() / 2 + 127.5
    return (2 * uniform - 1) * STRONGEST.get(name, 0.0)


def affine(image, **change):
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return reference.affine(image, **still | change, fill=[float(FILL)] * len(image))


def slant(strength):
    return math.degrees(math.atan(strength))


REFERENCE = {
    "Identity": lambda image, _: image,
    "ShearX": lambda image, s: affine(image, shear=[slant(s), 0.0], center=[0, 0]),
    "ShearY": lambda image, s: affine(image, shear=[0.0, slant(s)], center=[0, 0]),
    "TranslateX": lambda image, s: affine(image, translate=[int(s), 0]),
    "TranslateY": lambda image, s: affine(image, translate=[0, int(s)]),
    "Rotate": lambda image, s: reference.rotate(image, s, fill=[float(FILL)] * len(image)),
    "Brightness": lambda image, s: reference.adjust_brightness(image, 1 + s),
    "Color": lambda image, s: reference.adjust_saturation(image, 1 + s),
    "Contrast": lambda image, s: reference.adjust_contrast(image, 1 + s),
    "Sharpness": lambda image, s: reference.adjust_sharpness(image, 1 + s),
    "Posterize": lambda image, s: reference.posterize(image, int(s)),
    "Solarize": reference.solarize,
    "AutoContrast": lambda image, _: reference.autocontrast(image),
    "Equalize": lambda image, _: reference.equalize(image),
    "Invert": lambda image, _: reference.invert(image),
}
"""Operations on one image as torchvision's policies call them."""


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_torchvision(name, shape):
    before, by = images(shape), strengths(name)
    kept = before.clone()
    after = OPERATIONS[name](before, by)
    expected = torch.stack([REFERENCE[name](x, float(s)) for x, s in zip(before, by, strict=True)])
    assert before.equal(kept), "the images themselves were changed"
    assert after.dtype == torch.uint8
    gap = (after.int() - expected.int()).abs()
    assert gap.max() <= 1
    assert gap.float().mean() < 1e-2  # where a blend is a whole number, theirs may be one below it


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_batch_and_the_layout_do_not_matter(name):
    before, by = images((3, 32, 32)), strengths(name)
    whole = OPERATIONS[name](before, by)
    alone = [OPERATIONS[name](before[i : i + 1], by[i : i + 1]) for i in range(len(before))]
    assert whole.equal(torch.cat(alone))
    assert whole.equal(OPERATIONS[name](before.to(memory_format=torch.channels_last), by))
