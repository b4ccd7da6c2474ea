"""Parts of a backbone: stem, blocks, and pooling of the last maps."""

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from ltbench.networks.build import is_timm_resnet
from ltbench.networks.fastnet import FastNet
from ltbench.networks.resnet_cifar import CifarResNet

if TYPE_CHECKING:
    from timm.models.convnext import ConvNeXt
    from timm.models.resnet import ResNet


@dataclass(frozen=True)
class Parts:
    """Parts of a backbone, in order.

    They are its own modules: their weights have no other names, and are frozen with `Method.freeze`
    of `below(1)`, for example.

    Attributes:
        stem: images [B, C, H, W] -> maps.
        stages: blocks by stage, maps -> maps; none if the stem is the whole backbone.
        channels: of the maps after each stage.
        pool: maps -> features [B, width].
        width: number of features.
    """

    stem: nn.Module
    stages: list[list[nn.Module]]
    channels: list[int]
    pool: nn.Module
    width: int

    def below(self, last: int) -> list[nn.Module]:
        """Return the stem and all blocks but the last ones."""
        blocks = list(chain.from_iterable(self.stages))
        return [self.stem, *blocks[: max(len(blocks) - last, 0)]]

    def split(self, last: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Return the trunk, and the last blocks with the pool.

        Args:
            last: number of blocks after the split.
        """
        trunk, blocks = self.below(last), list(chain.from_iterable(self.stages))
        return nn.Sequential(*trunk), nn.Sequential(*blocks[len(trunk) - 1 :], self.pool)

    def maps(self, images: Tensor) -> Tensor:
        """Return the last maps [B, D, H', W'] of images."""
        values = images
        for module in self.below(last=0):
            values = module(values)
        return values


def has_maps(backbone: nn.Module) -> bool:
    """Return whether a backbone's features are its last maps, just pooled."""
    return isinstance(backbone, CifarResNet | FastNet) or is_timm_resnet(backbone)


def parts_of(backbone: nn.Module) -> Parts:
    """Return the parts of a backbone.

    Small backbones and timm's ResNets and ResNeXts have blocks; the stages of a ConvNeXt are a
    block each, and its pool normalizes. Any other backbone is a stem.
    """
    if isinstance(backbone, CifarResNet | FastNet):
        blocks = [list(stage.children()) for stage in backbone.stages]
        if isinstance(backbone, FastNet):
            stem, pool = backbone.stem, backbone.pool
        else:
            stem = nn.Sequential(backbone.conv1, backbone.norm1, nn.ReLU(inplace=True))
            pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Parts(stem, blocks, backbone.widths, pool, backbone.width)
    from timm.models.convnext import ConvNeXt

    if is_timm_resnet(backbone):
        stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.act1, backbone.maxpool)
        layers = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
        blocks = [list(layer.children()) for layer in layers]
        channels = stage_channels(backbone)[-4:]
        return Parts(stem, blocks, channels, backbone.global_pool, backbone.num_features)
    model = cast("Any", backbone)
    width = int(model.num_features)
    if isinstance(backbone, ConvNeXt):
        pool = nn.Sequential(model.norm_pre, model.head)
        stages = [[stage] for stage in model.stages]
        return Parts(model.stem, stages, stage_channels(backbone), pool, width)
    whole = nn.Sequential(backbone, nn.Unflatten(1, (width, 1, 1)))
    return Parts(whole, [], [], nn.Flatten(), width)


def stage_channels(model: "ResNet | ConvNeXt") -> list[int]:
    """Return the channels of a timm model's maps after each stage."""
    return [int(info["num_chs"]) for info in model.feature_info]
