"""Random changes of brightness, contrast and saturation, for whole batches.

As torchvision's `ColorJitter`: each is a mixture of the image with something that lacks it (black,
the mean gray of the image, each pixel's gray), cut to the range, in an order drawn for each image.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

GRAY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in a pixel's gray (ITU-R BT.601, as torchvision rounds them)."""

BRIGHTNESS, CONTRAST, SATURATION = range(3)


class JitterParams(NamedTuple):
    """How the colors of images change; the last axis are brightness, contrast, saturation.

    Attributes:
        factors: [..., 3] float32, 1 for no change.
        order: [..., 3] int64, which of them comes first, second, third.
    """

    factors: Tensor
    order: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "JitterParams":
        """Return the draws with a function applied to each tensor."""
        return JitterParams(function(self.factors), function(self.order))


def draw_jitter(steps: int, batch: int, strength: float, generator: Generator) -> JitterParams:
    """Draw an epoch's changes, tensors [steps, batch, 3] on the CPU.

    Args:
        steps: batches of the epoch.
        batch: images of a batch.
        strength: factors are uniform in 1 - strength .. 1 + strength.
        generator: on the CPU.
    """
    shape = (steps, batch, 3)
    factors = 1 + strength * (2 * torch.rand(shape, generator=generator) - 1)
    return JitterParams(factors, torch.rand(shape, generator=generator).argsort(dim=2))


def jitter(images: Tensor, draws: JitterParams) -> Tensor:
    """Return images [B, 3, H, W] in [0, 1] with their colors changed; draws [B, 3]."""
    shares = torch.tensor(GRAY, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    factors = draws.factors.to(images.dtype).gather(1, draws.order)
    for which, factor in zip(draws.order.unbind(dim=1), factors.unbind(dim=1), strict=True):
        kind, share = (values[:, None, None, None] for values in (which, factor))
        gray = (images * shares).sum(dim=1, keepdim=True)  # [B, 1, H, W]
        mean = gray.mean(dim=(2, 3), keepdim=True)
        other = torch.where(kind == CONTRAST, mean, gray) * (kind != BRIGHTNESS)
        images = (share * images + (1 - share) * other).clamp(0, 1)
    return images
