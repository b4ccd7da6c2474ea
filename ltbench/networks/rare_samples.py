"""Rare-class sample generator of RSG: head-class deviations added to tail classes.

Wang, Lukasiewicz, Hu, Cai, Xu, "RSG: A Simple but Effective Module for Learning Imbalanced
Datasets", CVPR 2021 (arXiv:2106.09859), in the form of the authors' code.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ltbench.networks.build import NetworkSpec
from ltbench.networks.multi_expert import build_parts
from ltbench.networks.network import Network


class PairClassifier(nn.Module):
    """Classifier of pairs of maps: different classes (0) or the same (1).

    Two maps [P, C, H, W] -> logits [P, 2].

    Args:
        channels: C.
        width: of the hidden layers.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, width, 1)
        self.spread = nn.Conv2d(width, width, 3)
        self.decide = nn.Linear(width, 2)
        for layer in (self.mix, self.spread):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type] # it has one
        nn.init.normal_(self.decide.weight)
        nn.init.zeros_(self.decide.bias)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return logits [P, 2].

        The authors average over all positions after the 3 x 3 convolution. Both are linear, so that
        the input windows of its nine weights can be averaged before: the same result, with a
        convolution at one position instead of H x W.
        """
        mixed = F.relu(self.mix(torch.cat([first, second], dim=1)))
        windows = F.avg_pool2d(F.pad(mixed, (1, 1, 1, 1)), tuple(mixed.shape[2:]), stride=1)
        logits: Tensor = self.decide(self.spread(windows).flatten(1))
        return logits


class RareSampleGenerator(nn.Module):
    """Centers of each class, and a transformation of deviations from them.

    Its input maps must not require a gradient.

    Args:
        classes: number of classes.
        channels: C of the maps.
        centers: K of each class.
        width: of the pair classifier.
    """

    def __init__(self, classes: int, channels: int, centers: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, channels, centers))
        self.bias = nn.Parameter(torch.ones(classes, centers))
        self.centers = nn.Parameter(torch.zeros(classes, centers, channels))
        self.pairs = PairClassifier(channels, width)
        self.transform = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)  # type: ignore[arg-type] # it has one

    def belonging(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Return the weights of maps on their class's centers.

        Args:
            maps: [B, C, H, W].
            labels: [B].

        Returns:
            [B, K], with sum 1.
        """
        pooled = maps.mean(dim=(2, 3))
        scores = torch.einsum("bc,bck->bk", pooled, self.weight[labels]) + self.bias[labels]
        return scores.softmax(dim=1)

    def distances(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Return weighted squared distances [B] of maps to their centers.

        Summed over positions, the squared distances to a center are those to the map's mean, plus
        the number of positions times that of the mean to the center.
        """
        mean = maps.mean(dim=(2, 3))  # [B, C]
        within = (maps - mean[:, :, None, None]).square().sum(dim=(1, 2, 3))  # [B]
        between = (mean[:, None] - self.centers[labels]).square().sum(dim=2)  # [B, K]
        positions = maps.shape[2] * maps.shape[3]
        return (self.belonging(maps, labels) * (within[:, None] + positions * between)).sum(dim=1)

    @torch.no_grad()
    def deviations(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Return maps [B, C, H, W] minus their centers of largest weight."""
        nearest = self.belonging(maps, labels).argmax(dim=1)
        return maps - self.centers[labels, nearest][:, :, None, None]

    def generate(
        self, heads: Tensor, head_labels: Tensor, tails: Tensor, tail_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Generate maps of tail classes.

        The losses ask of a transformed deviation the length of the head's deviation, the direction
        of the tail's, and another class than the head's. As in the authors' code, lengths are those
        of C consecutive values of a map, not of channels, and directions are compared elementwise.

        Args:
            heads: [P, C, H, W], maps of head classes.
            head_labels: [P].
            tails: [P, C, H, W], maps to which the heads' transformed deviations are added.
            tail_labels: [P].

        Returns:
            New maps [P, C, H, W], and losses [P] of the transformed deviations.
        """
        deviation = self.deviations(heads, head_labels)
        moved = self.transform(deviation)
        fixed = {name: value.detach() for name, value in self.pairs.named_parameters()}
        logits = functional_call(self.pairs, fixed, (heads, moved))
        different = torch.zeros_like(head_labels)
        foreign = F.cross_entropy(logits, different, reduction="none")

        def vectors(maps: Tensor) -> Tensor:
            _, channels, height, width = maps.shape
            return maps.reshape(-1, height * width, channels)

        after, before = vectors(moved), vectors(deviation)
        lengths = (after.norm(dim=2) - before.norm(dim=2)).abs().sum(dim=1)
        toward = F.normalize(vectors(self.deviations(tails, tail_labels)), dim=2)
        directions = (toward * F.normalize(after, dim=2) - 1).abs().sum(dim=(1, 2))
        return tails + moved, foreign + lengths + directions


class RareSampleNetwork(Network):
    """A network with a generator before its last stage.

    The last stage is the third of small backbones, the fourth of timm's ResNets, ResNeXts and
    ConvNeXts. On other backbones the generator works on the features, as maps of one position.

    Args:
        spec: of the network.
        classifier: makes the classifier, given number of features and classes.
        centers: of each class.
        width: of the pair classifier's hidden layers.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        classifier: Callable[[int, int], nn.Module],
        centers: int,
        width: int,
    ) -> None:
        parts = build_parts(spec)
        lower, upper = parts.split(len(parts.stages[-1]) if parts.stages else 0)
        backbone = nn.Sequential(lower, upper)
        super().__init__(backbone, classifier(parts.width, spec.classes))
        channels = parts.channels[-2] if parts.stages else parts.width
        self.generator = RareSampleGenerator(spec.classes, channels, centers, width)


def pair_heads_with_tails(labels: Tensor, head: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Pair head samples with tail samples, in the order of the batch.

    The smaller group is repeated as often as it fits into `strength` times the larger one, at least
    once, and paired with as many of the larger.

    Args:
        labels: [B].
        head: [classes] bool, whether a class is a head class.
        strength: in (0, 1].

    Returns:
        Positions [P] of heads and of tails.
    """
    heads, tails = head[labels].nonzero().flatten(), (~head[labels]).nonzero().flatten()
    fewer, more = sorted((len(heads), len(tails)))
    if fewer == 0:
        return heads[:0], tails[:0]
    times = max(int(more * strength / fewer), 1)
    if len(heads) < len(tails):
        heads = heads.repeat(times)
    else:
        tails = tails.repeat(times)
    return heads[: fewer * times], tails[: fewer * times]
