"""Augmentation policies: RandAugment, AutoAugment and cutout.

RandAugment: Cubuk, Zoph, Shlens, Le, "RandAugment: Practical Automated Data Augmentation with a
Reduced Search Space", CVPR Workshops 2020 (arXiv:1909.13719). AutoAugment: Cubuk et al., CVPR 2019
(arXiv:1805.09501), the policies of its appendix. Cutout: DeVries, Taylor, "Improved Regularization
of Convolutional Neural Networks with Cutout", 2017 (arXiv:1708.04552).

Parameters are drawn for all global batches of an epoch at once; then each operation is applied
together to all images of a batch that drew it.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from ltbench.augment.operations import OPERATIONS

PolicyName = Literal["none", "randaugment", "autoaugment_cifar10", "autoaugment_imagenet"]

NAMES = list(OPERATIONS)
RANDAUGMENT = 14
"""Number of RandAugment's operations: the first ones, all but the inversion."""

GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
BLENDED = ("Brightness", "Color", "Contrast", "Sharpness")
SIGNED = torch.tensor([name in GEOMETRIC + BLENDED for name in NAMES])
"""Whether an operation's strength is negated with probability 1/2."""


class PolicyParams(NamedTuple):
    """Random parameters of an epoch: operations and a hole per image.

    Tensors are on the CPU; an image has N operations.

    Attributes:
        operations: [steps, B, N] int64, indices in OPERATIONS.
        strengths: [steps, B, N] float64.
        holes: [steps, B, 2] int64, row and column of a hole's center; None for no holes.
    """

    operations: Tensor
    strengths: Tensor
    holes: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> "PolicyParams":
        """Apply a function to each tensor."""
        holes = None if self.holes is None else function(self.holes)
        return PolicyParams(function(self.operations), function(self.strengths), holes)


def draw_policy(
    name: PolicyName,
    steps: int,
    batch: int,
    size: tuple[int, int],
    generator: Generator,
    *,
    num_ops: int = 2,
    magnitude: int = 9,
    cutout: bool = False,
) -> PolicyParams:
    """Draw the parameters of an epoch.

    RandAugment draws its operations with equal probability, all at one magnitude. AutoAugment draws
    one of 25 pairs of operations, each with its own probability of being applied.

    Args:
        name: of the policy; AutoAugment's names the dataset that its pairs were found on.
        steps: batches of the epoch.
        batch: size of a batch, B.
        size: height and width of the images.
        generator: on the CPU.
        num_ops: operations per image in RandAugment (N in the paper).
        magnitude: of RandAugment's operations (M in the paper), from 0 to 30.
        cutout: whether to cut a hole, its center uniform over the image.
    """
    if name == "none":
        operations, strengths = torch.zeros(2, steps, batch, 0)
        operations = operations.long()
    elif name == "randaugment":
        operations = torch.randint(RANDAUGMENT, (steps, batch, num_ops), generator=generator)
        strengths = strengths_at(magnitude, 31, size)[operations]
    else:
        pairs, probabilities, strengths = autoaugment_pairs(name.removeprefix("autoaugment_"), size)
        drawn = torch.randint(len(pairs), (steps, batch), generator=generator)
        applied = torch.rand((steps, batch, 2), generator=generator) < probabilities[drawn]
        operations = torch.where(applied, pairs[drawn], NAMES.index("Identity"))
        strengths = strengths[drawn]
    negative = torch.randint(2, operations.shape, generator=generator).bool() & SIGNED[operations]
    strengths = torch.where(negative, -strengths, strengths)
    centers = [torch.randint(n, (steps, batch), generator=generator) for n in size if cutout]
    return PolicyParams(operations, strengths, torch.stack(centers, dim=2) if cutout else None)


def autoaugment_pairs(policy: str, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return AutoAugment's pairs: operations, probabilities and strengths, [25, 2] each.

    Args:
        policy: "cifar10" or "imagenet", the dataset that it was found on.
        size: height and width of the images.
    """
    pairs = AutoAugment(AutoAugmentPolicy(policy)).policies
    names, probabilities, levels = zip(*(each for pair in pairs for each in pair), strict=True)
    operations = torch.tensor([NAMES.index(name) for name in names])
    at = torch.stack([strengths_at(level, 10, size) for level in range(10)])
    strengths = at[torch.tensor([level or 0 for level in levels]), operations]
    return operations.view(-1, 2), torch.tensor(probabilities).view(-1, 2), strengths.view(-1, 2)


def strengths_at(level: int, levels: int, size: tuple[int, int]) -> Tensor:
    """Return each operation's strength at a level; 0 if it has none.

    Args:
        level: from 0 to levels - 1.
        levels: 31 in RandAugment, 10 in AutoAugment.
        size: height and width of the images.

    Returns:
        [len(OPERATIONS)] float64.
    """
    share = level / (levels - 1)
    height, width = size
    strength = {
        "ShearX": 0.3 * share,
        "ShearY": 0.3 * share,
        "TranslateX": 150 / 331 * width * share,
        "TranslateY": 150 / 331 * height * share,
        "Rotate": 30 * share,
        **dict.fromkeys(BLENDED, 0.9 * share),
        "Posterize": 8 - round(4 * share),
        "Solarize": 255 * (levels - 1 - level) / (levels - 1),
    }
    return torch.tensor([strength.get(name, 0) for name in NAMES], dtype=torch.float64)


class PolicyEpoch:
    """Policy of an epoch's batches.

    Images are sorted by operation beforehand, so that a step does not wait for the device.

    Args:
        params: of the epoch.
        hole: side of the square that is set to zero, in pixels.
        device: of the images.
    """

    def __init__(self, params: PolicyParams, hole: int, device: torch.device | str) -> None:
        order = params.operations.argsort(dim=1, stable=True)  # [steps, B, N]
        self.strengths = params.strengths.gather(1, order).to(device)
        self.counts = F.one_hot(params.operations, len(NAMES)).sum(dim=1).tolist()
        self.order = order.to(device)
        self.holes = None if params.holes is None else params.holes.to(device)
        self.half = hole // 2

    def __call__(self, step: int, images: Tensor) -> Tensor:
        """Return a step's augmented images [B, C, H, W] uint8."""
        for i, counts in enumerate(self.counts[step]):
            order = self.order[step, :, i]
            parts = (torch.split(x, counts) for x in (images[order], self.strengths[step, :, i]))
            results = [
                operation(part, strengths)
                for operation, part, strengths in zip(OPERATIONS.values(), *parts, strict=True)
                if len(part)
            ]
            images = torch.empty_like(images).index_copy_(0, order, torch.cat(results))
        return images if self.holes is None else cut_out(images, self.holes[step], self.half)


def cut_out(images: Tensor, holes: Tensor, half: int) -> Tensor:
    """Set a square of each image to zero, clipped at the border.

    Args:
        images: [B, C, H, W].
        holes: [B, 2], row and column of the first pixel after the center.
        half: half of the side, in pixels.
    """
    inside = []
    for size, center in zip(images.shape[2:], holes.unbind(1), strict=True):
        offset = torch.arange(size, device=images.device) - center[:, None]
        inside.append((offset >= -half) & (offset < half))  # [B, H], [B, W]
    rows, columns = inside
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)
