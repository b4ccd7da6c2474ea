"""Statistics of features by class: means, running moments and a memory.

Means are those of a pass. Means and moments are float64. What changes in training steps is given
the rows of all ranks, in the order of the global batch, and summed by matrix products: it is the
same, bit for bit, on every rank and under any number of ranks. Its buffers are part of checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.core.distributed import gather


class ClassMeans:
    """Class means of a statistics pass over all images.

    Args:
        classes: C.
    """

    def __init__(self, classes: int) -> None:
        self.totals = torch.zeros(classes, dtype=torch.int64)
        self.sums: Tensor | None = None

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add features [B, D] of classes [B]."""
        if self.sums is None:
            shape = len(self.totals), features.shape[1]
            self.sums = torch.zeros(shape, dtype=torch.float64, device=features.device)
            self.totals = self.totals.to(features.device)
        self.sums.index_add_(0, labels, features.double())
        self.totals += torch.bincount(labels, minlength=len(self.totals))

    def means(self) -> Tensor:
        """Return the means [C, D], float64.

        Raises:
            ValueError: for a class without features.
        """
        empty = (self.totals == 0).nonzero().flatten().tolist()
        if self.sums is None or empty:
            raise ValueError(f"classes without features: {', '.join(map(str, empty))}")
        return self.sums / self.totals[:, None]


class ClassMoments(nn.Module):
    """Running mean and variance of each class's features.

    Args:
        classes: C.
        width: D.
        share: None for the moments of all features so far: mean, and variance divided by their
            number. Else the weight of a batch's mean and unbiased variance (0 of a single feature)
            in a running average, which begins with those of the first batch.
        full: whether variances are matrices.

    Attributes:
        seen: [C] int64, features so far.
        mean: [C, D].
        variance: [C, D], or [C, D, D] if `full`.
    """

    def __init__(
        self, classes: int, width: int, *, share: float | None = None, full: bool = False
    ) -> None:
        super().__init__()
        self.share, self.full = share, full
        self.seen: Tensor
        self.mean: Tensor
        self.variance: Tensor
        shape = (classes, width, width) if full else (classes, width)
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(classes, width, dtype=torch.float64))
        self.register_buffer("variance", torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Update with a step's features.

        Args:
            features: [B, D], this rank's rows.
            labels: [B].
        """
        features, labels = gather(features.double()), gather(labels)
        member = F.one_hot(labels, len(self.seen)).double()  # [B, C]
        count = member.sum(dim=0)  # [C]
        mean = member.T @ features / count.clamp_min(1)[:, None]  # [C, D]
        scatter = member.T @ self._products(features - mean[labels]).flatten(1)
        divisor = count if self.share is None else count - 1
        variance = scatter.view(self.variance.shape) / _beside(divisor.clamp_min(1), self.variance)

        steady = count / (self.seen + count).clamp_min(1) if self.share is None else self.share
        weight = torch.where(self.seen > 0, steady, torch.ones_like(count)) * (count > 0)  # [C]
        shift = mean - self.mean
        by_class = _beside(weight, self.variance)
        self.variance += by_class * (variance - self.variance)
        if self.share is None:
            self.variance += by_class * (1 - by_class) * self._products(shift)
        self.mean += weight[:, None] * shift
        self.seen += count.long()

    def _products(self, features: Tensor) -> Tensor:
        """Return squares [N, D] of features, or their products [N, D, D]."""
        return features[:, :, None] * features[:, None] if self.full else features.square()


class ClassMemory(nn.Module):
    """The latest values of each class, in the precision of the network.

    Args:
        sizes: [C] int64, values kept of each class, at least one.
        width: D.

    Attributes:
        values: [sum of sizes, D], class by class.
        seen: [C] int64, values so far.
    """

    def __init__(self, sizes: Tensor, width: int) -> None:
        super().__init__()
        self.values: Tensor
        self.seen: Tensor
        self.sizes: Tensor
        self.first: Tensor
        self.register_buffer("values", torch.zeros(int(sizes.sum()), width))
        self.register_buffer("seen", torch.zeros_like(sizes))
        self.register_buffer("sizes", sizes.clone(), persistent=False)
        self.register_buffer("first", sizes.cumsum(0) - sizes, persistent=False)

    @property
    def filled(self) -> Tensor:
        """Number [C] of stored values."""
        return torch.minimum(self.seen, self.sizes)

    @torch.no_grad()
    def push(self, values: Tensor, labels: Tensor) -> None:
        """Store a step's values, in place of the oldest of their classes.

        Args:
            values: [B, D], this rank's rows.
            labels: [B].
        """
        self.store(gather(values), gather(labels))

    def store(self, values: Tensor, labels: Tensor) -> None:
        """Store values that every rank has; arguments as of `push`."""
        member = F.one_hot(labels, len(self.seen))  # [B, C]
        before = (member.cumsum(dim=0) * member).sum(dim=1) - 1  # [B], of its class in the batch
        slot = self.first[labels] + (self.seen[labels] + before) % self.sizes[labels]
        row = torch.arange(len(labels), device=labels.device)
        last = slot.new_zeros(len(self.values)).scatter_reduce(0, slot, row, "amax")
        self.values[slot] = values[last[slot]].to(self.values.dtype)  # the last one of each slot
        self.seen += member.sum(dim=0)

    def draw(self, classes: Tensor, numbers: Tensor) -> Tensor:
        """Return stored values of classes, with replacement.

        Args:
            classes: [K] int64, which have values.
            numbers: [K, M] uniform in [0, 1).

        Returns:
            [K, M, D].
        """
        place = (numbers.double() * self.filled[classes, None]).long()
        return self.values[self.first[classes, None] + place]

    def variances(self) -> Tensor:
        """Return unbiased variances of the stored values, float64, on the CPU.

        That of fewer than two values is 0.
        """
        values, sizes, filled = self.values.double().cpu(), self.sizes.cpu(), self.filled.cpu()
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)  # [sum of sizes]
        place = torch.arange(len(values)) - self.first.cpu()[owner]
        stored = (place < filled[owner]).nonzero().flatten()
        owner, values = owner[stored], values[stored]
        zeros = torch.zeros(len(sizes), values.shape[1], dtype=torch.float64)
        means = zeros.index_add(0, owner, values) / filled.clamp_min(1)[:, None]
        squares = (values - means[owner]).square()
        return zeros.index_add(0, owner, squares) / (filled - 1).clamp_min(1)[:, None]


def _beside(weights: Tensor, values: Tensor) -> Tensor:
    """Return weights [C] in the shape [C, 1, ...] of values."""
    return weights.view(-1, *[1] * (values.dim() - 1))
