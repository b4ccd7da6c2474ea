"""Networks that share their first blocks and have the later ones once an expert.

Every expert is a network of its own, initialised on its own, of which only the later blocks are
kept; the first blocks are those of the first one. CIFAR ResNets and timm's ResNets and ResNeXts can
be made narrower in the later half of their stages. ConvNeXts are cut in the same places, at full
width and by whole stages. Of any other backbone everything is shared, and only what a method puts
behind its features is the expert's own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.core.types import CIFAR_RESNETS
from ltbench.networks.build import NetworkSpec, build_backbone, is_timm_resnet, timm_model
from ltbench.networks.network import Network
from ltbench.networks.resnet_cifar import CifarResNet

if TYPE_CHECKING:
    from timm.models.convnext import ConvNeXt
    from timm.models.resnet import ResNet


@dataclass(frozen=True)
class Parts:
    """A backbone taken apart: stem, blocks and pool in turn are the backbone.

    Attributes:
        stem: images [B, C, H, W] -> maps.
        stages: blocks by stage, maps -> maps; none where the stem is all of the backbone.
        channels: of the maps behind each stage.
        pool: maps -> features [B, width].
        width: number of features.
    """

    stem: nn.Module
    stages: list[list[nn.Module]]
    channels: list[int]
    pool: nn.Module
    width: int

    def cut(self, own: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Return what comes before the last `own` blocks, and those blocks with the pool."""
        blocks = list(chain.from_iterable(self.stages))
        place = max(len(blocks) - own, 0)
        return nn.Sequential(self.stem, *blocks[:place]), nn.Sequential(*blocks[place:], self.pool)


def take_apart(spec: NetworkSpec, *, reduced: bool = False) -> Parts:
    """Return a new backbone in parts.

    Args:
        spec: the backbone.
        reduced: whether the later half of a ResNet's stages has three quarters of its channels.

    Raises:
        ValueError: for a reduced backbone that should begin with weights.
    """
    if spec.backbone in CIFAR_RESNETS:
        widths = (16, 24, 48) if reduced else (16, 32, 64)
        cifar = CifarResNet(CIFAR_RESNETS[spec.backbone], spec.channels, spec.norm, widths)
        stem = nn.Sequential(cifar.conv1, cifar.norm1, nn.ReLU(inplace=True))
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        blocks = [list(stage.children()) for stage in cifar.stages]
        return Parts(stem, blocks, list(widths), pool, cifar.width)
    from timm.models.convnext import ConvNeXt

    model, width = build_backbone(spec)
    if is_timm_resnet(model):
        if reduced and spec.weights is not None:
            raise ValueError("narrower stages have no pretrained weights: say reduced: false")
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
    """Return the channels of the maps that a timm model can hand out, those of its stages last."""
    return [int(info["num_chs"]) for info in model.feature_info]


def _reduced(model: "ResNet") -> tuple[int, ...]:
    """Return a ResNet's channels by stage, before expansion; three quarters in the last two."""
    expansion = model.layer1[0].expansion
    first, second, third, fourth = (c // expansion for c in _channels(model)[-4:])
    return first, second, third * 3 // 4, fourth * 3 // 4


class ExpertBackbone(nn.Module):
    """Images [B, C, H, W] -> features [E, B, width] of E experts on shared maps."""

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
        """Return features [B, width] of one expert."""
        features: Tensor = self.experts[expert](self.shared(images))
        return features


class Branches(ExpertBackbone):
    """Images [B, C, H, W] -> features [B, E * width] of E branches, side by side."""

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, E * width]."""
        return torch.cat(tuple(super().forward(images)), dim=1)


class ExpertClassifiers(nn.ModuleList):
    """Features [E, B, D] -> logits [E, B, classes], a classifier an expert."""

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [E, B, classes]."""
        return torch.stack([classify(x) for classify, x in zip(self, features, strict=True)])


def build_experts(spec: NetworkSpec, experts: int, *, reduced: bool) -> ExpertBackbone:
    """Return experts that have the later half of the stages of their own.

    So a CIFAR ResNet shares its stem and first of three stages, a ResNet two of four, as in RIDE.

    Args:
        spec: the backbone.
        experts: number of experts E.
        reduced: whether the experts' stages have three quarters of a ResNet's channels.
    """
    parts = [take_apart(spec, reduced=reduced) for _ in range(experts)]
    stages = parts[0].stages
    return ExpertBackbone(*_joined(parts, own=sum(map(len, stages[len(stages) // 2 :]))))


def build_cosine_experts(spec: NetworkSpec, experts: int, *, reduced: bool) -> Network:
    """Return images -> cosines [E, B, classes]: experts of RIDE, a cosine classifier each."""
    backbone = build_experts(spec, experts, reduced=reduced)
    classifiers = (CosineClassifier(backbone.width, spec.classes) for _ in range(experts))
    return Network(backbone, ExpertClassifiers(classifiers))


def build_branches(spec: NetworkSpec, branches: int) -> Branches:
    """Return branches that have the last block of their own, as in BBN."""
    return Branches(*_joined([take_apart(spec) for _ in range(branches)], own=1))


def _joined(parts: list[Parts], own: int) -> tuple[nn.Module, list[nn.Module], int]:
    """Return the shared part, the experts with their last `own` blocks, and their width."""
    shared, _ = parts[0].cut(own)
    return shared, [each.cut(own)[1] for each in parts], parts[0].width
