"""Networks of SHIKE: experts whose last maps are multiplied by shallow features.

Jin, Li, Lu, Cheung, Wang, "Long-Tailed Visual Recognition via Self-Heterogeneous Integration with
Knowledge Excavation", CVPR 2023 (arXiv:2304.01279), section 3.2, in the form of the authors' code.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.networks.build import NetworkSpec
from ltbench.networks.multi_expert import ExpertBackbone, build_experts, build_parts
from ltbench.networks.resnet_cifar import norm_layer


class ShallowExperts(nn.Module):
    """Experts with their own last stage, each on maps of another depth.

    Images [B, C, H, W] -> features [E, B, width]. Expert i takes the maps of the shared stage
    i modulo their number.

    Args:
        stages: all stages but the last, the stem in the first.
        experts: last stages, maps -> maps.
        projections: the shared stages' maps -> maps with the channels of the last ones.
        pools: maps -> features [B, width].
        width: number of features.
    """

    def __init__(
        self,
        stages: Iterable[nn.Module],
        experts: Iterable[nn.Module],
        projections: Iterable[nn.Module],
        pools: Iterable[nn.Module],
        width: int,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.experts = nn.ModuleList(experts)
        self.projections = nn.ModuleList(projections)
        self.pools = nn.ModuleList(pools)
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        """Return features [E, B, width]."""
        maps, shared = images, []
        for stage in self.stages:
            maps = stage(maps)
            shared.append(maps)
        features = []
        experts = zip(self.experts, self.projections, self.pools, strict=True)
        for i, (expert, project, pool) in enumerate(experts):
            deep, shallow = expert(maps), project(shared[i % len(shared)])
            if shallow.shape != deep.shape:  # stages that pool may round sizes down
                shallow = F.adaptive_avg_pool2d(shallow, deep.shape[2:])
            features.append(pool(deep * shallow))
        return torch.stack(features)


def shallow_projection(channels: Sequence[int], norm: NetworkSpec) -> nn.Sequential:
    """Return strided 3x3 convolutions through given numbers of channels.

    Each halves the maps, and has a normalization and a ReLU; the second one has no ReLU.

    Args:
        channels: of the maps, from the shared stage's to the last stage's.
        norm: specification with the kind of normalization.
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(channels)):
        convolution = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight)
        layers += [convolution, norm_layer(norm.norm, outputs)]
        if i != 1:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def build_shallow_experts(spec: NetworkSpec, experts: int) -> ShallowExperts | ExpertBackbone:
    """Return experts on shallow features.

    Small backbones and timm's ResNets, ResNeXts and ConvNeXts have an expert's own last stage and
    features of the stages before. Any other backbone is shared as a whole.

    Args:
        spec: the backbone.
        experts: number of experts E.
    """
    parts = [build_parts(spec) for _ in range(experts)]
    *shared, _ = parts[0].stages or [[]]
    if not shared:
        return build_experts(spec, experts, reduced=False)
    stages = [nn.Sequential(*stage) for stage in shared]
    stages[0] = nn.Sequential(parts[0].stem, *shared[0])
    channels = parts[0].channels
    return ShallowExperts(
        stages,
        (nn.Sequential(*each.stages[-1]) for each in parts),
        (shallow_projection(channels[i % len(shared) :], spec) for i in range(experts)),
        (each.pool for each in parts),
        parts[0].width,
    )
