"""Random crops of padded images and random horizontal flips."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class CropFlipParams(NamedTuple):
    """Random parameters of crops of padded images, int64.

    Attributes:
        top: first row of the window, in 0..2 * padding.
        left: first column of the window, in 0..2 * padding.
        mirrored: 1 for images that are mirrored left to right after the crop, else 0; None for no
            flips.
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "CropFlipParams":
        """Apply a function to each tensor."""
        mirrored = None if self.mirrored is None else function(self.mirrored)
        return CropFlipParams(function(self.top), function(self.left), mirrored)


def draw_crop_flip(
    steps: int, batch: int, padding: int, generator: Generator, *, flip: bool
) -> CropFlipParams:
    """Draw the crops and flips of an epoch.

    Windows are uniform over the padded image.

    Args:
        steps: batches of the epoch.
        batch: size of a batch, B.
        padding: pixels added on each side; 0 for no crop.
        generator: on the CPU.
        flip: whether to flip images with probability 1/2.

    Returns:
        Tensors [steps, B] on the CPU.
    """
    shape = (steps, batch)
    top = torch.randint(2 * padding + 1, shape, generator=generator)
    left = torch.randint(2 * padding + 1, shape, generator=generator)
    return CropFlipParams(top, left, torch.randint(2, shape, generator=generator) if flip else None)
