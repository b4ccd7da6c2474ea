"""Networks of ResLT: light branches on a backbone's last maps.

Cui et al., "ResLT: Residual Learning for Long-tailed Recognition", TPAMI 2022 (arXiv:2101.10633),
in the form of the authors' code.
"""

from copy import deepcopy

from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.types import SMALL_BACKBONES
from ltbench.networks.build import NetworkSpec
from ltbench.networks.multi_expert import ExpertBackbone, build_parts
from ltbench.networks.network import Network
from ltbench.networks.resnet_cifar import norm_layer


class PointwiseBranch(nn.Module):
    """A 1x1 convolution, before the pooling in training, after it in tests.

    Maps [B, D, H, W] -> features [B, D].
    """

    def __init__(self, width: int, pool: nn.Module) -> None:
        super().__init__()
        self.transform = nn.Sequential(
            nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.pool = pool

    def forward(self, maps: Tensor) -> Tensor:
        """Return features [B, D]."""
        features: Tensor
        if self.training:
            features = self.pool(self.transform(maps))
        else:
            features = self.transform(self.pool(maps)[..., None, None]).flatten(1)
        return features


def build_residual_branches(spec: NetworkSpec, branches: int) -> Network:
    """Return a network of branches with one linear classifier.

    On a small backbone a branch is a normalization; on others it is a `PointwiseBranch`, and
    the classifier has no bias.

    Args:
        spec: the backbone.
        branches: number of branches K.

    Returns:
        Images [B, C, H, W] -> logits [K, B, classes].
    """
    parts = build_parts(spec)
    shared, pool = parts.split(0)
    pools = [deepcopy(pool) for _ in range(branches)]
    if spec.backbone in SMALL_BACKBONES:
        experts: list[nn.Module] = [
            nn.Sequential(norm_layer(spec.norm, parts.width), pool) for pool in pools
        ]
        classifier = linear(parts.width, spec.classes)
    else:
        experts = [PointwiseBranch(parts.width, pool) for pool in pools]
        classifier = nn.Linear(parts.width, spec.classes, bias=False)
    return Network(ExpertBackbone(shared, experts, parts.width), classifier)
