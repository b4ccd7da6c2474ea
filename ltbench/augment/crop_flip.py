"""Random crops of padded images and random horizontal flips, drawn for an epoch."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class CropFlipParams(NamedTuple):
    """How images are cut from their padded originals; int64 tensors of one shape.

    Attributes:
        top: first row of the window, in 0..2 * padding.
        left: first column of the window, likewise.
        mirrored: 1 for images that are flipped left to right after the cut, else 0; None for none.
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "CropFlipParams":
        """Return the placement with a function applied to each tensor."""
        mirrored = None if self.mirrored is None else function(self.mirrored)
        return CropFlipParams(function(self.top), function(self.left), mirrored)


def draw_crop_flip(
    steps: int, batch: int, padding: int, generator: Generator, *, flip: bool
) -> CropFlipParams:
    """Draw the cuts of an epoch: windows uniform over the padded image, every second one mirrored.

    Args:
        steps: batches of the epoch.
        batch: images of a batch B.
        padding: pixels added on each side; 0 for no crop.
        generator: on the CPU.
        flip: whether images are mirrored with probability 1/2.

    Returns:
        Tensors [steps, B] on the CPU.
    """
    shape = (steps, batch)
    top = torch.randint(2 * padding + 1, shape, generator=generator)
    left = torch.randint(2 * padding + 1, shape, generator=generator)
    return CropFlipParams(top, left, torch.randint(2, shape, generator=generator) if flip else None)
