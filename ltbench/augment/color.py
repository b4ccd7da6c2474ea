"""Color jitter of batches: random brightness, contrast and saturation.

As torchvision's `ColorJitter`: each blends the image with an image without that property (black,
the mean gray of the image, each pixel's gray) and clamps to [0, 1], in a random order per image.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

GRAY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in a pixel's gray (ITU-R BT.601, as torchvision rounds them)."""

BRIGHTNESS, CONTRAST, SATURATION = range(3)


class JitterParams(NamedTuple):
    """Random parameters of color jitter.

    Attributes:
        factors: [..., 3] float32, of brightness, contrast and saturation; 1 is no change.
        order: [..., 3] int64, which of the three comes first, second, third.
    """

    factors: Tensor
    order: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "JitterParams":
        """Apply a function to each tensor."""
        return JitterParams(function(self.factors), function(self.order))


def draw_jitter(steps: int, batch: int, strength: float, generator: Generator) -> JitterParams:
    """Draw the parameters of an epoch, [steps, batch, 3] on the CPU.

    Args:
        steps: batches of the epoch.
        batch: size of a batch.
        strength: factors are uniform in 1 - strength .. 1 + strength.
        generator: on the CPU.
    """
    shape = (steps, batch, 3)
    factors = 1 + strength * (2 * torch.rand(shape, generator=generator) - 1)
    return JitterParams(factors, torch.rand(shape, generator=generator).argsort(dim=2))


def jitter(images: Tensor, params: JitterParams) -> Tensor:
    """Return images with jittered colors.

    Args:
        images: [B, 3, H, W] in [0, 1].
        params: of a batch, [B, 3].
    """
    shares = torch.tensor(GRAY, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    factors = params.factors.to(images.dtype).gather(1, params.order)
    for which, factor in zip(params.order.unbind(dim=1), factors.unbind(dim=1), strict=True):
        kind, share = (values[:, None, None, None] for values in (which, factor))
        gray = (images * shares).sum(dim=1, keepdim=True)  # [B, 1, H, W]
        mean = gray.mean(dim=(2, 3), keepdim=True)
        other = torch.where(kind == CONTRAST, mean, gray) * (kind != BRIGHTNESS)
        images = (share * images + (1 - share) * other).clamp(0, 1)
    return images
