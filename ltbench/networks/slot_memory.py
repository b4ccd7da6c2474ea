"""A memory of several keys for each class."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.core.autocast import no_autocast


class SlotMemory(nn.Module):
    """Slots with keys of each class, read by softmax, written by rule.

    It is given the queries of all ranks, in the order of the global batch, and is the same on
    every rank. A write changes no slots of classes that it has no queries of.

    Args:
        classes: C.
        slots: of each class, M.
        width: D.
        temperature: of the softmax over slots (tau).
        share: of its key that a slot keeps when it moves.

    Attributes:
        keys: [C * M, D], of length 1, class by class.
        filled: [C * M] bool.
        uses: [C * M] int64, moves since the slot was filled.
    """

    def __init__(
        self, classes: int, slots: int, width: int, temperature: float = 0.1, share: float = 0.9
    ) -> None:
        super().__init__()
        self.slots, self.temperature, self.share = slots, temperature, share
        self.keys: Tensor
        self.filled: Tensor
        self.uses: Tensor
        self.register_buffer("keys", torch.zeros(classes * slots, width))
        self.register_buffer("filled", torch.zeros(classes * slots, dtype=torch.bool))
        self.register_buffer("uses", torch.zeros(classes * slots, dtype=torch.int64))

    def scores(self, queries: Tensor) -> Tensor:
        """Return scores [B, C * M]; empty slots have low ones."""
        keys = self.keys.to(queries.dtype, copy=True)  # a write comes before the backward pass
        with no_autocast(queries):
            scores: Tensor = queries @ keys.T / self.temperature
        # Low, but finite: there are gradients while the memory is empty.
        return scores.masked_fill(~self.filled, torch.finfo(scores.dtype).min / 2)

    def forward(self, queries: Tensor) -> Tensor:
        """Return the log-probabilities [B, C] of classes, sums over their slots.

        Args:
            queries: [B, D], of length 1, in at least float32.
        """
        log_probabilities = self.scores(queries).log_softmax(dim=1)
        return self._by_class(log_probabilities).logsumexp(dim=2)

    @torch.no_grad()
    def write(self, queries: Tensor, labels: Tensor) -> None:
        """Write the queries of a global batch.

        The first of a class fill its empty slots. If the memory predicts the label of a later one,
        the nearest slot of the class moves to it, to the mean where several have the same nearest
        slot. Else it replaces the slot with the fewest uses, each query of the batch another one,
        and those beyond the number of slots are not stored. Predictions are those before the
        write, and slots move before others replace them.

        Args:
            queries: [N, D], of length 1.
            labels: [N].
        """
        with no_autocast(queries):
            self._write(queries.to(self.keys.dtype), labels)

    def _write(self, queries: Tensor, labels: Tensor) -> None:
        scores = self._by_class(self.scores(queries))  # [N, C, M]
        own = scores.gather(1, labels[:, None, None].expand(-1, 1, self.slots))[:, 0]  # [N, M]
        slot = labels * self.slots + own.argmax(dim=1)  # [N], the nearest of the class
        filled, uses = self._by_class(self.filled), self._by_class(self.uses)  # [C, M]
        predicted = scores.logsumexp(dim=2).argmax(dim=1)
        same = labels[:, None] == labels  # [N, N]
        empty = (~filled).sum(dim=1)[labels]  # [N]
        fills = same.tril(-1).sum(dim=1) < empty
        right = (predicted == labels) & self.filled[slot] & ~fills
        self._move(queries, slot, right)

        places = ~right
        rank = (same.tril(-1) & places).sum(dim=1)  # [N], among those of the class
        order = torch.where(filled, uses, -1)[labels].argsort(dim=1, stable=True)  # [N, M]
        first = order.gather(1, (rank % self.slots)[:, None])[:, 0]
        places &= rank < self.slots
        self._place(queries, torch.where(places, labels * self.slots + first, slot), places)

    def _move(self, queries: Tensor, slot: Tensor, moves: Tensor) -> None:
        """Move the slots of some queries towards them."""
        # Rows of the same slot write the same key, others the key that is there.
        movers = ((slot[:, None] == slot) & moves).to(queries.dtype)  # [N, N]
        count = movers.sum(dim=1, keepdim=True)
        mean = movers @ queries / torch.where(count > 0, count, 1)
        moved = F.normalize(self.share * self.keys[slot] + (1 - self.share) * mean)
        self.keys[slot] = torch.where(count > 0, moved, self.keys[slot])
        self.uses.index_add_(0, slot, moves.long())

    def _place(self, queries: Tensor, slot: Tensor, places: Tensor) -> None:
        """Store some queries in slots of their own."""
        placed = (slot[:, None] == slot) & places  # [N, N], at most one in a row
        has = placed.any(dim=1)
        stored = placed.to(queries.dtype) @ queries
        self.keys[slot] = torch.where(has[:, None], stored, self.keys[slot])
        self.uses[slot] = torch.where(has, 0, self.uses[slot])
        self.filled[slot] = self.filled[slot] | has

    def _by_class(self, values: Tensor) -> Tensor:
        """Return values [..., C * M] of slots as [..., C, M]."""
        return values.view(*values.shape[:-1], -1, self.slots)
