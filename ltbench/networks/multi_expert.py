"""Multi-expert networks: a shared trunk and a copy of the later blocks per expert.

Each expert is built and initialized as a whole backbone, of which the later blocks are kept; the
trunk is that of the first expert. Small backbones and timm's ResNets and ResNeXts can be narrower
in the later half of their stages. ConvNeXts are split by whole stages, at full width. Any other
backbone is shared as a whole, and experts differ only in their classifiers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.core.types import SMALL_BACKBONES
from ltbench.networks.build import (
    NetworkSpec,
    build_backbone,
    is_timm_resnet,
    small_backbone,
    timm_model,
)
from ltbench.networks.fastnet import FastNet
from ltbench.networks.network import Network

if TYPE_CHECKING:
    from timm.models.convnext import ConvNeXt
    from timm.models.resnet import ResNet


@dataclass(frozen=True)
class Parts:
    """Parts of a backbone, in order.

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

    def split(self, last: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Return the trunk, and the last blocks with the pool.

        Args:
            last: number of blocks after the split.
        """
        blocks = list(chain.from_iterable(self.stages))
        first = max(len(blocks) - last, 0)
        return nn.Sequential(self.stem, *blocks[:first]), nn.Sequential(*blocks[first:], self.pool)


def build_parts(spec: NetworkSpec, *, reduced: bool = False) -> Parts:
    """Build a backbone and return its parts.

    Args:
        spec: the backbone.
        reduced: whether the later half of a ResNet's stages has three quarters of its channels.

    Raises:
        ValueError: for a reduced backbone with pretrained weights.
    """
    if spec.backbone in SMALL_BACKBONES:
        own = small_backbone(spec, reduced=reduced)
        blocks = [list(stage.children()) for stage in own.stages]
        if isinstance(own, FastNet):
            return Parts(own.stem, blocks, own.widths, own.pool, own.width)
        stem = nn.Sequential(own.conv1, own.norm1, nn.ReLU(inplace=True))
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Parts(stem, blocks, own.widths, pool, own.width)
    from timm.models.convnext import ConvNeXt

    model, width = build_backbone(spec)
    if is_timm_resnet(model):
        if reduced and spec.weights is not None:
            raise ValueError("reduced stages have no pretrained weights: set reduced: false")
        if reduced:
            model = timm_model(spec, channels=_reduced(model))
        stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
        layers = (model.layer1, model.layer2, model.layer3, model.layer4)
        return Parts(
            stem,
            [list(layer.children()) for layer in layers],
            _channels(model)[-4:],
            model.global_pool,
            model.num_features,
        )
    if isinstance(model, ConvNeXt):
        pool = nn.Sequential(model.norm_pre, model.head)
        return Parts(model.stem, [[s] for s in model.stages], _channels(model), pool, width)
    return Parts(nn.Sequential(model, nn.Unflatten(1, (width, 1, 1))), [], [], nn.Flatten(), width)


def _channels(model: "ResNet | ConvNeXt") -> list[int]:
    """Return the channels of a timm model's feature maps, its stages last."""
    return [int(info["num_chs"]) for info in model.feature_info]


def _reduced(model: "ResNet") -> tuple[int, ...]:
    """Return a reduced ResNet's channels by stage, before expansion."""
    expansion = model.layer1[0].expansion
    first, second, third, fourth = (c // expansion for c in _channels(model)[-4:])
    return first, second, third * 3 // 4, fourth * 3 // 4


class ExpertBackbone(nn.Module):
    """Experts on a shared trunk.

    Images [B, C, H, W] -> features [E, B, width].
    """

    def __init__(self, shared: nn.Module, experts: Iterable[nn.Module], width: int) -> None:
        super().__init__()
        self.shared = shared
        self.experts = nn.ModuleList(experts)
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        """Return features [E, B, width]."""
        maps = self.shared(images)
        return torch.stack([expert(maps) for expert in self.experts])

    def features_of(self, expert: int, images: Tensor) -> Tensor:
        """Return one expert's features [B, width]."""
        features: Tensor = self.experts[expert](self.shared(images))
        return features


class Branches(ExpertBackbone):
    """Branches on a shared trunk, whose features are concatenated.

    Images [B, C, H, W] -> features [B, E * width].
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, E * width]."""
        return torch.cat(tuple(super().forward(images)), dim=1)


class ExpertClassifiers(nn.ModuleList):
    """A classifier for each expert.

    Features [E, B, D] -> logits [E, B, classes].
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [E, B, classes]."""
        return torch.stack([classify(x) for classify, x in zip(self, features, strict=True)])


def build_experts(spec: NetworkSpec, experts: int, *, reduced: bool) -> ExpertBackbone:
    """Return experts with their own later stages, as in RIDE.

    They share the stem, and the first of three stages of a CIFAR ResNet, two of four of a ResNet.

    Args:
        spec: the backbone.
        experts: number of experts E.
        reduced: whether the experts' stages have three quarters of a ResNet's channels.
    """
    parts = [build_parts(spec, reduced=reduced) for _ in range(experts)]
    stages = parts[0].stages
    return ExpertBackbone(*_share_trunk(parts, last=sum(map(len, stages[len(stages) // 2 :]))))


def build_cosine_experts(spec: NetworkSpec, experts: int, *, reduced: bool) -> Network:
    """Return RIDE's experts with cosine classifiers, images -> [E, B, classes]."""
    backbone = build_experts(spec, experts, reduced=reduced)
    classifiers = (CosineClassifier(backbone.width, spec.classes) for _ in range(experts))
    return Network(backbone, ExpertClassifiers(classifiers))


def build_branches(spec: NetworkSpec, branches: int) -> Branches:
    """Return branches with their own last block, as in BBN."""
    return Branches(*_share_trunk([build_parts(spec) for _ in range(branches)], last=1))


def _share_trunk(parts: list[Parts], last: int) -> tuple[nn.Module, list[nn.Module], int]:
    """Return the first backbone's trunk, all last blocks, and the width."""
    shared, _ = parts[0].split(last)
    return shared, [each.split(last)[1] for each in parts], parts[0].width
