"""Three-stage ResNet for 32x32 images, the network of CIFAR tables.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv:1512.03385),
section 4.2, with parameter-free shortcuts (option A: every second pixel, new channels zero) and
Kaiming-normal initialization of convolutions. ResNet-(6n+2) has n blocks in each stage of 16, 32
and 64 channels.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


def norm_layer(kind: Literal["batch", "group"], channels: int) -> nn.Module:
    """Return BatchNorm, or GroupNorm with four groups."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(4, channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, norm: Literal["batch", "group"]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = norm_layer(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = norm_layer(norm, outputs)
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return maps [B, outputs, H / stride, W / stride]."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        if self.stride > 1 or self.new_channels:
            half = self.new_channels // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(y + x, inplace=True)


class CifarResNet(nn.Module):
    """Three-stage ResNet: images [B, C, H, W] -> features [B, D].

    D is the last of the stages' widths; images may have any size.
    """

    def __init__(
        self,
        blocks: int,
        channels: int = 3,
        norm: Literal["batch", "group"] = "batch",
        widths: tuple[int, int, int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        inputs = widths[0]
        self.widths, self.width = list(widths), widths[-1]
        self.conv1 = nn.Conv2d(channels, inputs, 3, 1, 1, bias=False)
        self.norm1 = norm_layer(norm, inputs)
        stages: list[nn.Module] = []
        for outputs in widths:
            stage = []
            for i in range(blocks):
                stride = 2 if i == 0 and stages else 1
                stage.append(BasicBlock(inputs, outputs, stride, norm))
                inputs = outputs
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def maps(self, images: Tensor) -> Tensor:
        """Return the maps [B, D, H', W'] before pooling."""
        maps: Tensor = self.stages(F.relu(self.norm1(self.conv1(images)), inplace=True))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, D]."""
        return self.maps(images).mean(dim=(2, 3))
