"""Sums, means and gathers over ranks.

Without a process group there is one rank, and each returns its argument's own sum, mean or rows.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's rank."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def own_rows(count: int) -> slice:
    """Return the slice of this rank's rows among the gathered rows.

    Args:
        count: of the rows, equal on every rank.
    """
    return slice(rank() * count, (rank() + 1) * count)


def own_positions(rows: Tensor) -> Tensor:
    """Return the positions of this rank's rows among the gathered ones.

    Args:
        rows: [B, ...], this rank's.

    Returns:
        [B] int64.
    """
    own = own_rows(len(rows))
    return torch.arange(own.start, own.stop, device=rows.device)


def all_sum(value: Tensor) -> Tensor:
    """Return the sum over ranks, without gradient.

    Args:
        value: of equal shape on every rank.
    """
    if world_size() == 1:
        return value.detach()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def gather(value: Tensor) -> Tensor:
    """Concatenate the ranks' tensors in rank order, without gradient.

    Args:
        value: [B, ...]; B may differ between ranks.

    Returns:
        [sum of B, ...].
    """
    if world_size() == 1:
        return value.detach()
    sizes = torch.zeros(world_size(), dtype=torch.int64, device=value.device)
    sizes[rank()] = len(value)
    sizes = all_sum(sizes)
    longest = int(sizes.max())
    padded = value.new_zeros((longest, *value.shape[1:]))
    padded[: len(value)] = value.detach()
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """Gather whose backward pass sums the ranks' gradients of a rank's rows."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.count = len(value)
        return gather(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_sum(gradient)[own_rows(ctx.count)]


def gather_with_gradient(value: Tensor) -> Tensor:
    """Concatenate the ranks' tensors in rank order, with gradient.

    Every rank must use the result in its backward pass.

    Args:
        value: [B, ...], of equal shape on every rank.

    Returns:
        [W * B, ...].
    """
    if world_size() == 1:
        return value
    gathered: Tensor = _Gather.apply(value)
    return gathered


def global_mean(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the (weighted) mean over the global batch, with its gradient.

    DDP averages gradients over the W ranks. Each rank returns W times its share of the mean, so
    that the average over ranks, of losses and of gradients, is that of the global batch.

    Args:
        values: [B] losses of this rank's samples.
        weights: [B] weights, constants for the gradient; the mean divides by their global sum.
    """
    if weights is None:
        local, total = values.sum(), values.new_tensor(float(values.numel()))
    else:
        weights = weights.to(values.dtype).detach()
        local, total = (values * weights).sum(), weights.sum()
    return local * world_size() / all_sum(total)
