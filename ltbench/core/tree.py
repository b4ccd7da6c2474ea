"""Trees of classes, by average linkage or from a taxonomy.

A tree has levels of groups, from few to many; every group is a part of one in the level above.
Node 0 is the root, which has all classes; the groups are further nodes, level by level. Edge e
leads to node e + 1, and the edges after those of all groups lead to the classes. The number of
edges is that of groups and classes, whatever the groups are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ltbench.core.checks import check_shape, check_value
from ltbench.core.taxonomy import taxonomy_problems


@dataclass(frozen=True)
class Tree:
    """A tree of classes: L levels of groups, N nodes, E edges.

    Attributes:
        nodes: [L + 1, C] int64, the nodes on the path to each class, from the root.
        edges: [L + 1, C] int64, the edge that goes on from each of these nodes.
        origins: [E] int64, the node that an edge begins at.
        decides: [N] bool, whether a node has several edges, so that there is a choice.
        first: [N] int64, the first class of a node; C of a node without classes.
    """

    nodes: Tensor
    edges: Tensor
    origins: Tensor
    decides: Tensor
    first: Tensor


def group_sizes(groups: Sequence[int], classes: int) -> tuple[int, ...]:
    """Return each level's number of groups, at most half the classes."""
    return tuple(sorted(min(number, max(classes // 2, 1)) for number in groups))


def average_linkage(similarities: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return groups of classes by average linkage, with fixed numbers of groups.

    The two groups with the highest mean similarity of their classes are merged until as many groups
    are left as a level has. Groups are numbered in the order of their first classes.

    Args:
        similarities: [C, C], symmetric.
        sizes: number of groups of each level, ascending.

    Returns:
        [L, C] int64, the group of each class in each level, on the CPU.

    Raises:
        ValueError: for other shapes, values that are not finite, or sizes that are not ascending
            from 1 to C.
    """
    classes = len(similarities)
    check_shape("similarities", similarities, classes, classes)
    ascending = list(sizes) == sorted(sizes) and all(1 <= size <= classes for size in sizes)
    check_value("sizes", sizes, f"ascending numbers from 1 to {classes}", holds=ascending)
    if not similarities.isfinite().all():
        raise ValueError("similarities: expected finite numbers")
    if not sizes or classes == 1:
        return torch.zeros(len(sizes), classes, dtype=torch.int64)
    from scipy.cluster.hierarchy import linkage

    values = similarities.double().cpu()
    above = torch.triu_indices(classes, classes, offset=1)
    distances = values.max() - values[above[0], above[1]]
    merges = torch.from_numpy(linkage(distances.numpy(), "average")[:, :2]).long()  # [C - 1, 2]
    groups = torch.arange(classes)
    levels = {classes: groups}
    for step, pair in enumerate(merges):
        groups = torch.where(torch.isin(groups, pair), classes + step, groups)
        left = classes - 1 - step
        if left in sizes:
            levels[left] = groups
    return torch.stack([_numbered(levels[size]) for size in sizes])


def taxonomy_groups(taxonomy: Sequence[Sequence[int]], classes: int) -> Tensor:
    """Return the groups of a taxonomy, numbered by their first classes.

    Args:
        taxonomy: the group of each class, by any numbers, in each level from few to many groups.
        classes: C.

    Returns:
        [L, C] int64, on the CPU.

    Raises:
        ValueError: naming each of `taxonomy_problems`.
    """
    if problems := taxonomy_problems(taxonomy, classes):
        raise ValueError(f"taxonomy: {'; '.join(problems)}")
    levels = torch.tensor(taxonomy, dtype=torch.int64).view(len(taxonomy), classes)
    return torch.stack([_numbered(level) for level in levels])


def _numbered(groups: Tensor) -> Tensor:
    """Return groups, numbered in the order of their first classes.

    Args:
        groups: [C], the group of each class.

    Returns:
        [C] int64.
    """
    same = groups == groups[:, None]  # [C, C]
    first = same.int().argmax(dim=1)  # of each class's group
    numbers: Tensor = torch.unique(first, return_inverse=True)[1]
    return numbers


def tree_of(groups: Tensor, sizes: Sequence[int]) -> Tree:
    """Return the tree of given groups.

    Args:
        groups: [L, C] int64, the group of each class in each level; nested.
        sizes: number of groups of each level; a group may be empty.
    """
    check_shape("groups", groups, len(sizes), "C")
    classes, device = groups.shape[1], groups.device
    count = 1 + sum(sizes)
    starts = torch.tensor([1, *sizes], device=device).cumsum(0)[:-1]  # first node of each level
    root = torch.zeros(1, classes, dtype=torch.int64, device=device)
    every = torch.arange(classes, device=device)
    nodes = torch.cat([root, groups + starts[:, None]])
    edges = torch.cat([nodes[1:] - 1, count - 1 + every[None]])
    origins = torch.zeros(count - 1 + classes, dtype=torch.int64, device=device)
    origins[edges] = nodes
    children = torch.zeros(count, dtype=torch.int64, device=device)
    children.index_add_(0, origins, torch.ones_like(origins))
    first = torch.full((count,), classes, device=device)
    first.scatter_reduce_(0, nodes.flatten(), every.repeat(len(nodes)), "amin")
    return Tree(nodes, edges, origins, children > 1, first)
