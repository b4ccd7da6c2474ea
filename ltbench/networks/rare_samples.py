"""The rare-class sample generator of RSG: what its head classes vary by, added to tail classes.

Wang, Lukasiewicz, Hu, Cai, Xu, "RSG: A Simple but Effective Module for Learning Imbalanced
Datasets", CVPR 2021 (arXiv:2106.09859), in the form of the authors' code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ltbench.classifiers import CosineClassifier
from ltbench.networks.build import NetworkSpec
from ltbench.networks.multi_expert import take_apart
from ltbench.networks.network import Network


class PairClassifier(nn.Module):
    """Two maps [P, C, H, W] each -> logits [P, 2]: whether they are of different or of one class.

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

        The authors average over all places after the 3 x 3 convolution. Both are linear, so that
        the windows that each of its nine weights sees can be averaged before: the same numbers, and
        the convolution is at one place instead of H x W.
        """
        mixed = F.relu(self.mix(torch.cat([first, second], dim=1)))
        windows = F.avg_pool2d(F.pad(mixed, (1, 1, 1, 1)), tuple(mixed.shape[2:]), stride=1)
        logits: Tensor = self.decide(self.spread(windows).flatten(1))
        return logits


class RareSampleGenerator(nn.Module):
    """Centres of every class, and a transformation of deviations from them.

    No gradient reaches the maps that are given to it.

    Args:
        classes: number of classes.
        channels: C of the maps.
        centres: K of each class.
        width: of the pair classifier.
    """

    def __init__(self, classes: int, channels: int, centres: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, channels, centres))
        self.bias = nn.Parameter(torch.ones(classes, centres))
        self.centres = nn.Parameter(torch.zeros(classes, centres, channels))
        self.pairs = PairClassifier(channels, width)
        self.transform = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)  # type: ignore[arg-type] # it has one

    def belonging(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Return how much maps [B, C, H, W] belong to the centres of their classes [B, K]."""
        pooled = maps.mean(dim=(2, 3))
        scores = torch.einsum("bc,bck->bk", pooled, self.weight[labels]) + self.bias[labels]
        return scores.softmax(dim=1)

    def distances(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Return squared distances [B] to the centres, as much as maps belong to them.

        Summed over places, the distances to a center are those to the places' mean, and from that
        to the center once a place.
        """
        mean = maps.mean(dim=(2, 3))  # [B, C]
        spread = (maps - mean[:, :, None, None]).square().sum(dim=(1, 2, 3))  # [B]
        apart = (mean[:, None] - self.centres[labels]).square().sum(dim=2)  # [B, K]
        places = maps.shape[2] * maps.shape[3]
        return (self.belonging(maps, labels) * (spread[:, None] + places * apart)).sum(dim=1)

    @torch.no_grad()
    def deviations(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Return maps [B, C, H, W] less the centres that they most belong to."""
        nearest = self.belonging(maps, labels).argmax(dim=1)
        return maps - self.centres[labels, nearest][:, :, None, None]

    def generate(
        self, heads: Tensor, head_labels: Tensor, tails: Tensor, tail_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return new maps of tail classes [P, C, H, W] and losses of what was added to them [P].

        The transformed deviation should have the length of the head's and the direction of the
        tail's, and nothing of the head's class. As in the authors' code, lengths are those of C
        values that follow one another in a map, not of channels, and directions are compared number
        by number.

        Args:
            heads: [P, C, H, W], maps of head classes.
            head_labels: [P].
            tails: [P, C, H, W], the maps that get the deviations of the heads.
            tail_labels: [P].
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

        own, other = vectors(moved), vectors(deviation)
        lengths = (own.norm(dim=2) - other.norm(dim=2)).abs().sum(dim=1)
        toward = F.normalize(vectors(self.deviations(tails, tail_labels)), dim=2)
        directions = (toward * F.normalize(own, dim=2) - 1).abs().sum(dim=(1, 2))
        return tails + moved, foreign + lengths + directions


class RareSampleNetwork(Network):
    """Images -> cosines; the generator works on the maps before the last stage.

    That is the third stage of CIFAR ResNets, the fourth of timm's ResNets, ResNeXts and ConvNeXts;
    other backbones are below the generator as a whole: their features are maps of one place.
    """

    def __init__(self, spec: NetworkSpec, centres: int, width: int) -> None:
        parts = take_apart(spec)
        lower, upper = parts.cut(len(parts.stages[-1]) if parts.stages else 0)
        backbone = nn.Sequential(lower, upper)
        super().__init__(backbone, CosineClassifier(parts.width, spec.classes))
        channels = parts.channels[-2] if parts.stages else parts.width
        self.generator = RareSampleGenerator(spec.classes, channels, centres, width)


def pair_heads_with_tails(labels: Tensor, head: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Return positions of heads and of tails that are paired [P] each, in the order of the batch.

    The fewer of both are paired with as many of the more, then with the next ones, as often as
    whole portions of them go into `strength` times the more, but once at least.

    Args:
        labels: [B].
        head: [classes] bool, which classes are head classes.
        strength: in (0, 1].
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
