"""Index lists of a whole epoch, drawn at once for the global batch and then sliced by rank.

An epoch is `N // B` global batches whatever the sampler, so that methods are compared at equal
numbers of steps; the class-aware sampler's authors instead go on until every class was drawn as
often as the largest one has images.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

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
"""Names that `draw_epoch` takes."""


def draw_epoch(
    name: str, labels: Tensor, epoch: int, epochs: int, batch: int, generator: Generator
) -> Tensor:
    """Return the training images of an epoch's batches.

    Args:
        name: one of SAMPLERS. "instance" is a fresh permutation without its remainder;
            "class_aware" cycles through classes and their images (`class_aware`); "oversampled" and
            "undersampled" go through a balanced set (samplers/resampled.py); the others draw
            classes and images with replacement. "progressive" takes `t = epoch / (epochs - 1)` as
            its authors' code does, so that the last epoch is class-balanced.
        labels: [N] class of each training image, on the CPU.
        epoch: epochs completed, from 0.
        epochs: of the whole stage.
        batch: images of a global batch B.
        generator: on the CPU.

    Returns:
        [N // B, B] int64 positions in `labels`.

    Raises:
        ValueError: for an unknown name, or a batch larger than the training set.
    """
    if name not in SAMPLERS:
        raise ValueError(f"no sampler {name!r}; there are {', '.join(SAMPLERS)}")
    steps = len(labels) // batch
    if steps == 0:
        raise ValueError(f"a batch of {batch} does not fit {len(labels)} training images")
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
    """Draw classes by their probabilities and a uniform image of each, with replacement.

    Args:
        labels: [N] class of each image.
        probabilities: [C], zero for classes without images.
        draws: number of images to draw.
        generator: on the CPU.

    Returns:
        [draws] int64 positions in `labels`.
    """
    order, counts, starts = _grouped(labels)
    # A float64 uniform u is at most 1 - 2^-53, so that u * x rounds to less than x: no draw lands
    # behind the last class with images or behind the last image of a class.
    edges = probabilities.double().cumsum(0)
    uniform = torch.rand(2, draws, dtype=torch.float64, generator=generator)
    classes = torch.searchsorted(edges, uniform[0] * edges[-1], right=True)
    return order[starts[classes] + (uniform[1] * counts[classes]).long()]


def class_aware(labels: Tensor, draws: int, generator: Generator) -> Tensor:
    """Cycle through all classes, and within each through its images (Shen et al. 2016).

    The classes come in a new random order on each pass, and so do the images of a class each time
    they are used up: in every pass each class gives one image, and after u uses of a class with n
    images each of them was used `u // n` or one time more.

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

    rounds = -(-passes // counts)  # [K]: how often the images of a class are shuffled anew
    lengths = rounds * counts
    ends = lengths.cumsum(0)
    owner = torch.repeat_interleave(torch.arange(len(present)), lengths)  # [T]
    within = torch.arange(len(owner)) - (ends - lengths)[owner]  # place in the class's own list
    first_round = rounds.cumsum(0) - rounds
    deck = first_round[owner] + within // counts[owner]  # one deck a class and round
    keys = deck + torch.rand(len(owner), dtype=torch.float64, generator=generator)
    images = (starts[owner] + within % counts[owner])[keys.argsort()]  # [T], each deck shuffled

    uses = torch.arange(passes).unsqueeze(1)  # a class's use is the number of the pass
    return order[images[(ends - lengths)[classes] + uses]].flatten()[:draws]


def rank_columns(draws: Tensor, rank: int, world: int) -> Tensor:
    """Return a rank's equal, contiguous share of every global batch.

    Args:
        draws: [steps, B, ...] for the global batch.
        rank: from 0.
        world: number of ranks W.

    Returns:
        [steps, B / W, ...], a view.

    Raises:
        ValueError: when W does not divide B.
    """
    batch = draws.shape[1]
    if batch % world:
        raise ValueError(f"a global batch of {batch} cannot be shared by {world} ranks equally")
    share = batch // world
    return draws[:, rank * share : (rank + 1) * share]


def _grouped(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the positions ordered by class [N], each class's count [C] and first place [C]."""
    counts = torch.bincount(labels)
    return labels.argsort(stable=True), counts, counts.cumsum(0) - counts
