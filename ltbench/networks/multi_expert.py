"""Multi-expert networks: a shared trunk, and later blocks for each expert.

Each expert is built and initialized as a whole backbone, of which the later blocks are kept; the
trunk is that of the first expert. Small backbones and timm's ResNets and ResNeXts can be narrower
in the later half of their stages. ConvNeXts are split by whole stages, at full width. Any other
backbone is shared as a whole, and experts differ only in their classifiers. Networks that share
nothing are experts on an empty trunk.
"""

from collections.abc import Iterable
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
from ltbench.networks.network import Network
from ltbench.networks.parts import Parts, parts_of, stage_channels

if TYPE_CHECKING:
    from timm.models.resnet import ResNet


def build_parts(spec: NetworkSpec, *, reduced: bool = False) -> Parts:
    """Build a backbone and return its parts.

    Args:
        spec: the backbone.
        reduced: whether the later half of a ResNet's stages has three quarters of its channels.

    Raises:
        ValueError: for a reduced backbone with pretrained weights.
    """
    if spec.backbone in SMALL_BACKBONES:
        return parts_of(small_backbone(spec, reduced=reduced))
    model, _ = build_backbone(spec)
    if reduced and is_timm_resnet(model):
        if spec.weights is not None:
            raise ValueError("reduced stages have no pretrained weights: set reduced: false")
        model = timm_model(spec, channels=_reduced(model))
    return parts_of(model)


def _reduced(model: "ResNet") -> tuple[int, ...]:
    """Return a reduced ResNet's channels by stage, before expansion."""
    expansion = model.layer1[0].expansion
    first, second, third, fourth = (c // expansion for c in stage_channels(model)[-4:])
    return first, second, third * 3 // 4, fourth * 3 // 4


class ExpertBackbone(nn.Module):
    """Experts on a shared trunk.

    Images [B, C, H, W] -> features [E, B, width].

    Attributes:
        detached: whether the first expert alone has a gradient in the trunk.
    """

    def __init__(self, shared: nn.Module, experts: Iterable[nn.Module], width: int) -> None:
        super().__init__()
        self.shared = shared
        self.experts = nn.ModuleList(experts)
        self.width = width
        self.detached = False

    def forward(self, images: Tensor) -> Tensor:
        """Return features [E, B, width]."""
        maps = self.shared(images)
        others = maps.detach() if self.detached else maps
        return torch.stack([expert(others if i else maps) for i, expert in enumerate(self.experts)])

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

    They share the stem, and the first of a small backbone's three stages, two of four of a ResNet.

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


def build_networks(spec: NetworkSpec, networks: int) -> ExpertBackbone:
    """Return whole backbones side by side, which share nothing."""
    backbones, widths = zip(*(build_backbone(spec) for _ in range(networks)), strict=True)
    return ExpertBackbone(nn.Identity(), backbones, widths[0])


def build_last_stages(spec: NetworkSpec, branches: int) -> ExpertBackbone:
    """Return branches with their own last stage, as in LTML."""
    parts = [build_parts(spec) for _ in range(branches)]
    return ExpertBackbone(*_share_trunk(parts, last=len((parts[0].stages or [[]])[-1])))


def build_branches(spec: NetworkSpec, branches: int) -> Branches:
    """Return branches with their own last block, as in BBN."""
    return Branches(*_share_trunk([build_parts(spec) for _ in range(branches)], last=1))


def _share_trunk(parts: list[Parts], last: int) -> tuple[nn.Module, list[nn.Module], int]:
    """Return the first backbone's trunk, all last blocks, and the width."""
    shared, _ = parts[0].split(last)
    return shared, [each.split(last)[1] for each in parts], parts[0].width
