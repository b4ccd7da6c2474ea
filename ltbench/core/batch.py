"""The batch that every method receives."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass
class Batch:
    """A rank's rows of a global batch.

    Attributes:
        images: [B, C, H, W], normalized floats; with several views [V, B, C, H, W].
        labels: [B], int64.
        index: [B], int64, positions in the training split (in the order of its hashed index list).
    """

    images: Tensor
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.labels)


StepInput = Batch | Mapping[str, Batch]
"""Input of an optimization step: a batch, or a batch by stream."""
