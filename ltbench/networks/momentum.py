"""What momentum contrast adds to a network: a projection, a slow copy, a queue of keys.

He, Fan, Wu, Xie, Girshick, "Momentum Contrast for Unsupervised Visual Representation Learning",
CVPR 2020 (arXiv:1911.05722).
"""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def projection(
    width: int, outputs: int, norm: Literal["batch", "group", "none"] = "batch"
) -> nn.Module:
    """Return a perceptron with one hidden layer, features [B, width] -> [B, outputs]."""
    layers: list[nn.Module] = [nn.Linear(width, width)]
    if norm != "none":
        layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.GroupNorm(4, width))
    return nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Linear(width, outputs))


class MomentumCopy(nn.Module):
    """A copy of an encoder that follows it slowly and gets no gradient."""

    def __init__(self, *encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(nn.Sequential(*encoder)).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def follow(self, *encoder: nn.Module, momentum: float) -> None:
        """Move every parameter to momentum * itself + (1 - momentum) * the encoder's."""
        fast = nn.Sequential(*encoder).parameters()
        for own, theirs in zip(self.encoder.parameters(), fast, strict=True):
            own.lerp_(theirs, 1 - momentum)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return keys [B, D] of length 1 of images [B, C, H, W]."""
        return F.normalize(self.encoder(images))


class KeyQueue(nn.Module):
    """The latest keys, random ones at first.

    Args:
        size: number of keys kept.
        width: D.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.keys: Tensor
        self.place: Tensor
        self.register_buffer("keys", F.normalize(torch.randn(size, width)))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def push(self, **latest: Tensor) -> None:
        """Replace the oldest by the latest of all ranks: `keys` [N, D], and `labels` [N] if any."""
        size, count = len(self.keys), min(len(self.keys), len(latest["keys"]))
        places = (self.place + torch.arange(count, device=self.place.device)) % size
        for name, values in latest.items():
            kept = self.get_buffer(name)
            kept.index_copy_(0, places, values[-size:].to(kept.dtype))
        self.place.add_(count).remainder_(size)


class LabeledQueue(KeyQueue):
    """The latest keys and their labels, random ones of `classes` at first."""

    def __init__(self, size: int, width: int, classes: int) -> None:
        super().__init__(size, width)
        self.labels: Tensor
        self.register_buffer("labels", torch.randint(classes, (size,)))
