"""Projection head: a perceptron on features."""

from typing import Literal

from torch import nn


def projection(
    width: int, outputs: int, norm: Literal["batch", "group", "none"] = "batch"
) -> nn.Module:
    """Return a projection head: a perceptron with one hidden layer.

    Args:
        width: number of features, and of hidden units.
        outputs: dimension of the projection.
        norm: normalization of the hidden layer.
    """
    layers: list[nn.Module] = [nn.Linear(width, width)]
    if norm != "none":
        layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.GroupNorm(4, width))
    return nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Linear(width, outputs))
