"""Index lists of an epoch, drawn for global batches and then sliced by rank.

With every sampler an epoch is `N // B` global batches, so that methods are compared at equal
numbers of steps; in the class-aware sampler's paper it ends when every class was drawn as often as
the largest has images.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ltbench.core.checks import check_labels, check_value
from ltbench.samplers.probabilities import (
    class_balanced,
    effective_number,
    progressive,
    reversed_frequency,
    square_root,
)
from ltbench.samplers.resampled import oversampled, undersampled

PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "class_balanced": class_balanced,
    "square_root": square_root,
    "reversed": reversed_frequency,
    "effective_number": effective_number,
}

RESAMPLED: dict[str, Callable[[Tensor, int, Generator], Tensor]] = {
    "oversampled": oversampled,
    "undersampled": undersampled,
}

SAMPLERS = ("instance", "class_aware", *RESAMPLED, "progressive", *PROBABILITIES)
"""Names of samplers, see `draw_epoch`."""


MOST_CLASSES = 2**24
"""Bound of labels, whose classes are counted: larger ones are mistakes."""


def draw_epoch(
    name: str, labels: Tensor, epoch: int, epochs: int, batch: int, generator: Generator
) -> Tensor:
    """Return the training images of an epoch's batches.

    Args:
        name: one of SAMPLERS. "instance" is a new permutation, without its remainder; "class_aware"
            cycles through classes and their images (`class_aware`); "oversampled" and
            "undersampled" pass over a balanced set (samplers/resampled.py); the others draw classes
            and images with replacement. "progressive" has `t = epoch / (epochs - 1)` as in its
            authors' code, so that the last epoch is class-balanced.
        labels: [N] class of each training image, on the CPU.
        epoch: epochs completed, from 0.
        epochs: epochs of the stage.
        batch: size of a global batch, B.
        generator: on the CPU.

    Returns:
        [N // B, B] int64 positions in `labels`.

    Raises:
        TypeError: if the labels are no int64 tensor.
        ValueError: for an unknown name, labels that are no classes, a batch size below 1 or larger
            than the training set, or an epoch that progressive sampling does not reach.
    """
    if name not in SAMPLERS:
        raise ValueError(f"no sampler {name!r}: expected one of {', '.join(SAMPLERS)}")
    check_labels(labels, (len(labels), MOST_CLASSES))
    check_value("batch", batch, "at least 1", holds=batch >= 1)
    steps = len(labels) // batch
    if steps == 0:
        raise ValueError(
            f"the batch size {batch} exceeds the {len(labels)} training images: lower batch_size"
        )
    draws = steps * batch
    if name == "instance":
        drawn = torch.randperm(len(labels), generator=generator)[:draws]
    elif name == "class_aware":
        drawn = class_aware(labels, draws, generator)
    elif name in RESAMPLED:
        drawn = RESAMPLED[name](labels, draws, generator)
    else:
        counts = torch.bincount(labels)
        if name == "progressive":
            probabilities = progressive(counts, epoch / max(epochs - 1, 1))
        else:
            probabilities = PROBABILITIES[name](counts)
        drawn = by_class(labels, probabilities, draws, generator)
    return drawn.view(steps, batch)


def by_class(labels: Tensor, probabilities: Tensor, draws: int, generator: Generator) -> Tensor:
    """Draw classes by probability and a uniform image of each, with replacement.

    Args:
        labels: [N] class of each image.
        probabilities: [C], zero for classes without images.
        draws: number of images to draw.
        generator: on the CPU.

    Returns:
        [draws] int64 positions in `labels`.
    """
    order, counts, starts = _grouped(labels)
    # A float64 uniform u is at most 1 - 2^-53, so that u * x rounds to less than x: no draw is
    # beyond the last class with images or beyond the last image of a class.
    edges = probabilities.double().cumsum(0)
    uniform = torch.rand(2, draws, dtype=torch.float64, generator=generator)
    classes = torch.searchsorted(edges, uniform[0] * edges[-1], right=True)
    return order[starts[classes] + (uniform[1] * counts[classes]).long()]


def class_aware(labels: Tensor, draws: int, generator: Generator) -> Tensor:
    """Cycle through all classes, and within each through its images.

    The sampler of Shen et al. 2016. Each pass has one image of every class, in a new random order
    of classes. When the images of a class are used up, they are shuffled again: after u passes each
    of a class's n images was used `u // n` times or once more.

    Args:
        labels: [N] class of each image.
        draws: number of images to draw.
        generator: on the CPU.

    Returns:
        [draws] int64 positions in `labels`.
    """
    order, counts, starts = _grouped(labels)
    present = counts.nonzero().squeeze(1)  # [K]
    counts, starts = counts[present], starts[present]
    passes = -(-draws // len(present))
    shuffled = torch.rand(passes, len(present), dtype=torch.float64, generator=generator)
    classes = shuffled.argsort(dim=1)  # [passes, K]: the order of the classes on each pass

    rounds = -(-passes // counts)  # [K]: shuffles of a class's images
    lengths = rounds * counts
    ends = lengths.cumsum(0)
    owner = torch.repeat_interleave(torch.arange(len(present)), lengths)  # [T]
    within = torch.arange(len(owner)) - (ends - lengths)[owner]  # position in the class's list
    first_round = rounds.cumsum(0) - rounds
    deck = first_round[owner] + within // counts[owner]  # one deck per class and round
    keys = deck + torch.rand(len(owner), dtype=torch.float64, generator=generator)
    images = (starts[owner] + within % counts[owner])[keys.argsort()]  # [T], each deck shuffled

    uses = torch.arange(passes).unsqueeze(1)  # each pass uses a class once
    return order[images[(ends - lengths)[classes] + uses]].flatten()[:draws]


def rank_columns(index: Tensor, rank: int, world: int) -> Tensor:
    """Return a rank's contiguous share of every global batch.

    Args:
        index: [steps, B, ...] of the global batches.
        rank: from 0.
        world: number of ranks W.

    Returns:
        [steps, B / W, ...], a view.

    Raises:
        ValueError: when W does not divide B.
    """
    check_value("rank", rank, f"0 to {world - 1}", holds=0 <= rank < world)
    batch = index.shape[1]
    if batch % world:
        raise ValueError(
            f"batch size {batch} is not divisible by {world} ranks: change batch_size or devices"
        )
    share = batch // world
    return index[:, rank * share : (rank + 1) * share]


def _grouped(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the positions ordered by class, and each class's count and offset."""
    counts = torch.bincount(labels)
    return labels.argsort(stable=True), counts, counts.cumsum(0) - counts
