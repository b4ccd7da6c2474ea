"""Momentum contrast: momentum encoder, and queue of keys.

He, Fan, Wu, Xie, Girshick, "Momentum Contrast for Unsupervised Visual Representation Learning",
CVPR 2020 (arXiv:1911.05722).
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import gather, world_size
from ltbench.core.rng import GlobalBatchRNG


class MomentumCopy(nn.Module):
    """A momentum encoder: a moving average of an encoder, without gradient."""

    def __init__(self, *encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(nn.Sequential(*encoder)).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def follow(self, *encoder: nn.Module, momentum: float) -> None:
        """Update: momentum * the average + (1 - momentum) * the encoder."""
        latest = nn.Sequential(*encoder).parameters()
        for average, parameter in zip(self.encoder.parameters(), latest, strict=True):
            average.lerp_(parameter, 1 - momentum)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return unit keys [B, D] of images, in at least float32."""
        return unit_rows(self.encoder(images))

    def shuffled(self, images: Tensor, rng: GlobalBatchRNG, groups: int) -> Tensor:
        """Return the keys of the global batch, normalized in random groups.

        MoCo shuffles images over devices, so that BatchNorm's statistics do not give away which key
        is a query's. Here they are shuffled over parts of the global batch, each normalized
        separately, on one device too; the parts are the same under any number of ranks that divides
        their number, if that divides the batch.

        Args:
            images: [B, C, H, W] of this rank.
            rng: of the step.
            groups: parts of the global batch.

        Returns:
            [N, D], of length 1.
        """
        order = rng.permutation(images)
        parts = rng.gather_permuted(images, order).chunk(max(groups // world_size(), 1))
        shuffled = gather(torch.cat([self(part) for part in parts]))
        return shuffled[gather(order).argsort()]


class KeyQueue(nn.Module):
    """A queue of the latest keys, initially random ones.

    Args:
        size: number of keys kept.
        width: D.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.keys: Tensor
        self.position: Tensor
        self.register_buffer("keys", F.normalize(torch.randn(size, width)))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def snapshot(self, dtype: torch.dtype) -> Tensor:
        """Return a copy of the keys, which later pushes leave alone.

        A backward pass after a push needs one.
        """
        return self.keys.to(dtype, copy=True)

    def push(self, **latest: Tensor) -> None:
        """Replace the oldest entries by the latest of all ranks.

        Args:
            latest: `keys` [N, D], and `labels` [N] of a `LabeledQueue`.
        """
        size, count = len(self.keys), min(len(self.keys), len(latest["keys"]))
        slots = (self.position + torch.arange(count, device=self.position.device)) % size
        for name, values in latest.items():
            buffer = self.get_buffer(name)
            buffer.index_copy_(0, slots, values[-size:].to(buffer.dtype))
        self.position.add_(count).remainder_(size)


class LabeledQueue(KeyQueue):
    """A queue of the latest keys and labels, initially random ones."""

    def __init__(self, size: int, width: int, classes: int) -> None:
        super().__init__(size, width)
        self.labels: Tensor
        self.register_buffer("labels", torch.randint(classes, (size,)))
