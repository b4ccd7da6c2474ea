"""A small network that fits 32x32 training images in few epochs.

Its shape follows the speed-running networks for CIFAR-10 (Jordan, "94% on CIFAR-10 in 3.29 Seconds
on a Single GPU", arXiv:2404.00498): an unpadded 2x2 stem, three stages of two 3x3 convolutions with
a max-pooling after the first, BatchNorm and GELU, global max-pooling. Narrower than theirs, without
a whitened stem, and with affine BatchNorm: 33 million multiply-adds for an image of 32x32.
"""

from typing import Literal

from torch import Tensor, nn

from ltbench.networks.resnet_cifar import norm_layer

STEM = 24
"""Channels of the stem."""


class HalvingPool(nn.MaxPool2d):
    """Max-pooling by two that leaves maps of one pixel alone."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, maps: Tensor) -> Tensor:
        """Halve the height and width of maps [B, C, H, W]."""
        return maps if min(maps.shape[2:]) < 2 else super().forward(maps)


def block(
    inputs: int, outputs: int, norm: Literal["batch", "group"], *, pooled: bool
) -> nn.Sequential:
    """Return a 3x3 convolution, optional max-pooling by two, norm and GELU."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
    if pooled:
        layers.append(HalvingPool())
    return nn.Sequential(*layers, norm_layer(norm, outputs), nn.GELU())


class FastNet(nn.Module):
    """FastNet: images [B, C, H, W] -> features [B, D].

    Args:
        channels: C of the images.
        norm: BatchNorm or GroupNorm.
        widths: channels of the three stages; the last is D.
    """

    def __init__(
        self,
        channels: int = 3,
        norm: Literal["batch", "group"] = "batch",
        widths: tuple[int, int, int] = (32, 128, 128),
    ) -> None:
        super().__init__()
        self.widths, self.width = list(widths), widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, STEM, 2, bias=False), norm_layer(norm, STEM), nn.GELU()
        )
        inputs, stages = STEM, []
        for outputs in widths:
            first = block(inputs, outputs, norm, pooled=True)
            stages.append(nn.Sequential(first, block(outputs, outputs, norm, pooled=False)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())

    def maps(self, images: Tensor) -> Tensor:
        """Return the maps [B, D, H', W'] before pooling."""
        maps: Tensor = self.stages(self.stem(images))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, D]."""
        features: Tensor = self.pool(self.maps(images))
        return features
