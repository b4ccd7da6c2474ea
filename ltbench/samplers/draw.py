"""Index lists of an epoch, drawn for global batches, sliced by rank.

With every sampler an epoch is `N // B` global batches, so that methods are compared at equal
numbers of steps; in the class-aware sampler's paper it ends when every class was drawn as often as
the largest has images.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ltbench.core.checks import MOST_CLASSES, check_labels, check_value
from ltbench.core.seeding import make_generator
from ltbench.samplers.probabilities import (
    class_balanced,
    effective_number,
    power,
    progressive,
    reversed_frequency,
    square_root,
)
from ltbench.samplers.resampled import capped, oversampled, undersampled

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

SMALLEST = 8
"""Images of a step below which BatchNorm's statistics are noise."""

PARAMETERS = {
    "class_aware": ("per_class", r"[1-9]\d*"),
    "capped": ("per_class", r"[1-9]\d*"),
    "power": ("exponent", r"-?\d+(?:\.\d+)?"),
    "bilevel": ("classes", r"[1-9]\d*"),
}
"""Name and form of the parameter that a sampler can or must have: "class_aware(per_class=4)"."""


@dataclass(frozen=True)
class EpochDraw:
    """What the training images of an epoch are drawn from.

    Attributes:
        labels: [N] class of each training image, on the CPU.
        epoch: epochs completed, from 0.
        epochs: epochs of the stage.
        batch: size of a global batch, B.
        seed: of the job.
    """

    labels: Tensor
    epoch: int
    epochs: int
    batch: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of the epoch."""
        return len(self.labels) // self.batch

    def generator(self, *purpose: str) -> Generator:
        """Return a new generator of this epoch, on the CPU."""
        return make_generator(self.seed, "sampling", *purpose, self.epoch)

    def sampler(self, name: str) -> Tensor:
        """Return the images that a sampler draws, [steps, B] positions in `labels`."""
        generator = self.generator(name)
        return draw_epoch(name, self.labels, self.epoch, self.epochs, self.batch, generator)


def draw_epoch(
    name: str, labels: Tensor, epoch: int, epochs: int, batch: int, generator: Generator
) -> Tensor:
    """Return the training images of an epoch's batches.

    Args:
        name: one of SAMPLERS. "instance" is a new permutation, without its remainder; "class_aware"
            cycles through classes and their images (`class_aware`); "oversampled" and
            "undersampled" pass over a balanced set (samplers/resampled.py); the others draw classes
            and images with replacement. "progressive" has `t = epoch / (epochs - 1)` as in its
            authors' code, so that the last epoch is class-balanced. With a parameter:
            "class_aware(per_class=4)", four images of a class at a time; "capped(per_class=20)", a
            subset with at most 20 images of a class; "power(exponent=0.3)", classes in proportion
            to n^0.3; "bilevel(classes=16)", 16 classes a batch (`bilevel`).
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
    parsed = parse_sampler(name)
    if parsed is None:
        forms = (f"{kind}({parameter}=...)" for kind, (parameter, _) in PARAMETERS.items())
        raise ValueError(f"no sampler {name!r}: expected one of {', '.join([*SAMPLERS, *forms])}")
    kind, parameter = parsed
    check_labels(labels, (len(labels), MOST_CLASSES))
    check_value("batch", batch, "at least 1", holds=batch >= 1)
    steps = len(labels) // batch
    if steps == 0:
        raise ValueError(
            f"the batch size {batch} exceeds the {len(labels)} training images: lower batch_size"
        )
    draws = steps * batch
    if kind == "instance":
        drawn = torch.randperm(len(labels), generator=generator)[:draws]
    elif kind == "class_aware":
        drawn = class_aware(labels, draws, generator, int(parameter))
    elif kind == "capped":
        drawn = capped(labels, draws, generator, int(parameter))
    elif kind == "bilevel":
        drawn = bilevel(labels, steps, batch, generator, int(parameter))
    elif kind in RESAMPLED:
        drawn = RESAMPLED[kind](labels, draws, generator)
    else:
        counts = torch.bincount(labels)
        if kind == "progressive":
            probabilities = progressive(counts, epoch / max(epochs - 1, 1))
        elif kind == "power":
            probabilities = power(counts, parameter)
        else:
            probabilities = PROBABILITIES[kind](counts)
        drawn = by_class(labels, probabilities, draws, generator)
    return drawn.view(steps, batch)


def parse_sampler(name: str) -> tuple[str, float] | None:
    """Return a sampler's name, and its parameter, by default 1.

    None if there is no such sampler.
    """
    if name in SAMPLERS:
        return name, 1
    kind = name.partition("(")[0]
    parameter, form = PARAMETERS.get(kind, ("", ""))
    match = re.fullmatch(rf"{kind}\({parameter}=({form})\)", name) if form else None
    return (kind, float(match[1])) if match else None


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
    uniform = torch.rand(2, draws, dtype=torch.float64, generator=generator)
    return draw_images(labels, draw_by_weight(probabilities, uniform[0]), uniform[1])


def draw_images(labels: Tensor, classes: Tensor, uniform: Tensor) -> Tensor:
    """Return an image of each class, with replacement.

    Args:
        labels: [N] class of each image.
        classes: [...] int64, which have images.
        uniform: [...] float64, uniform in [0, 1).

    Returns:
        [...] int64 positions in `labels`.
    """
    order, counts, starts = _grouped(labels)
    return order[starts[classes] + (uniform * counts[classes]).long()]


def draw_by_weight(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return positions drawn in proportion to weights, with replacement.

    Args:
        weights: [..., N], at least 0; a row of zeros has no position, and is given N.
        uniform: [..., K], uniform in [0, 1).

    Returns:
        [..., K] int64.
    """
    # A float64 uniform u is at most 1 - 2^-53, so that u * x rounds to less than x: no draw is
    # beyond the last position with a weight.
    edges = weights.double().cumsum(-1)
    return torch.searchsorted(edges, uniform.double() * edges[..., -1:], right=True)


def bilevel(labels: Tensor, steps: int, batch: int, generator: Generator, classes: int) -> Tensor:
    """Draw a few classes for each batch, and images of each.

    The sampler of SimCal, Wang et al., ECCV 2020 (arXiv:2007.11978). Classes are uniform; those of
    a batch have equally many of its images, or one more.

    Args:
        labels: [N] class of each image.
        steps: number of batches.
        batch: size of a batch, B.
        generator: on the CPU.
        classes: draws of a class for each batch.

    Returns:
        [steps, B] int64 positions in `labels`.
    """
    present = torch.bincount(labels).nonzero().squeeze(1)  # [K]
    drawn = torch.rand(steps, classes, dtype=torch.float64, generator=generator)
    uniform = torch.rand(steps, batch, dtype=torch.float64, generator=generator)
    slots = torch.arange(batch) * classes // batch
    chosen = present[(drawn * len(present)).long()][:, slots]  # [steps, B]
    return draw_images(labels, chosen, uniform)


def class_aware(labels: Tensor, draws: int, generator: Generator, per_class: int = 1) -> Tensor:
    """Cycle through all classes, and within each through its images.

    The sampler of Shen et al. 2016. Each pass has `per_class` images of every class, one after the
    other, in a new random order of classes. When the images of a class are used up, they are
    shuffled again: after u uses each of a class's n images was used `u // n` times or once more.

    Args:
        labels: [N] class of each image.
        draws: number of images to draw.
        generator: on the CPU.
        per_class: images of a class at a time.

    Returns:
        [draws] int64 positions in `labels`.
    """
    order, counts, starts = _grouped(labels)
    present = counts.nonzero().squeeze(1)  # [K]
    counts, starts = counts[present], starts[present]
    passes = -(-draws // (len(present) * per_class))
    shuffled = torch.rand(passes, len(present), dtype=torch.float64, generator=generator)
    classes = shuffled.argsort(dim=1)  # [passes, K]: the order of the classes on each pass

    rounds = -(-passes * per_class // counts)  # [K]: shuffles of a class's images
    lengths = rounds * counts
    ends = lengths.cumsum(0)
    owner = torch.repeat_interleave(torch.arange(len(present)), lengths)  # [T]
    within = torch.arange(len(owner)) - (ends - lengths)[owner]  # position in the class's list
    first_round = rounds.cumsum(0) - rounds
    deck = first_round[owner] + within // counts[owner]  # one deck per class and round
    keys = deck + torch.rand(len(owner), dtype=torch.float64, generator=generator)
    images = (starts[owner] + within % counts[owner])[keys.argsort()]  # [T], each deck shuffled

    uses = torch.arange(passes * per_class).view(passes, 1, per_class)  # of a class in each pass
    return order[images[(ends - lengths)[classes].unsqueeze(2) + uses]].flatten()[:draws]


def require_indices(streams: Mapping[str, Tensor], draw: EpochDraw) -> None:
    """Check the training images that a method drew for an epoch.

    Raises:
        ValueError: naming the streams that are not [steps, n] int64 positions in the training set,
            on the CPU, or too small for BatchNorm, or called "auxiliary".
    """
    least = min(draw.batch, SMALLEST)
    problems = [] if streams else ["there is no stream"]
    if "auxiliary" in streams:
        problems.append("stream 'auxiliary' has the name of that of held-out images: rename it")
    for name, index in streams.items():
        found = (index.ndim, *index.shape[:1], index.dtype, index.device.type)
        if found != (2, draw.steps, torch.int64, "cpu"):
            problems.append(
                f"stream {name!r} is {[*index.shape]} {index.dtype} on {index.device}: return "
                f"[{draw.steps}, n] torch.int64 on the CPU"
            )
        elif index.shape[1] < least:
            problems.append(
                f"stream {name!r} has {index.shape[1]} images a step, too few for BatchNorm: at "
                f"least {least}; raise batch_size"
            )
        elif index.min() < 0 or index.max() >= len(draw.labels):
            problems.append(f"stream {name!r} has positions outside 0..{len(draw.labels) - 1}")
    if problems:
        raise ValueError(f"epoch_indices: {'; '.join(problems)}")


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
