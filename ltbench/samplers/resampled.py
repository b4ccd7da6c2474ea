"""Random over- and under-sampling: balanced training sets, by copies or subsets.

Buda, Maki, Mazurowski, "A systematic study of the class imbalance problem in convolutional neural
networks", Neural Networks 2018 (arXiv:1710.05381), section 2.1. Each function returns the images of
an epoch over the balanced set, as positions in `labels` [draws] int64.
"""

import torch
from torch import Generator, Tensor

SUBSET_SEED = 0
"""Seed of the images that under-sampling keeps: part of the data, equal for all training seeds."""

MOST_PERMUTED = 2**27
"""Size of a permutation, 1 GiB, above which few of its entries are drawn without the others."""


def oversampled(labels: Tensor, draws: int, generator: Generator) -> Tensor:
    """Draw from the balanced set with copies, without replacement.

    In it every class has m entries, as the largest has images. An image of a class of n images has
    m // n entries or one more; the images with one more are drawn for each epoch.

    Args:
        labels: [N] class of each image.
        draws: number of entries, at most the size of the balanced set.
        generator: on the CPU.
    """
    shuffled, counts, starts = _shuffled_in_classes(labels, generator)
    largest = int(counts.max())
    entries = _distinct(len(counts) * largest, draws, generator)
    classes = entries // largest
    return shuffled[starts[classes] + entries % largest % counts[classes]]


def undersampled(labels: Tensor, draws: int, generator: Generator) -> Tensor:
    """Pass over a subset with equal numbers of images by class.

    Arguments as of `capped`.
    """
    counts = torch.bincount(labels)
    return capped(labels, draws, generator, int(counts[counts > 0].min()))


def capped(labels: Tensor, draws: int, generator: Generator, per_class: int) -> Tensor:
    """Pass over a subset with few images of each class.

    The images of the subset are random, and equal for all epochs and seeds; each pass has them in a
    new order.

    Args:
        labels: [N] class of each image.
        draws: number of images, of as many passes as needed.
        generator: on the CPU.
        per_class: images of a class in the subset; smaller classes have all of theirs.
    """
    shuffled, counts, starts = _shuffled_in_classes(labels, Generator().manual_seed(SUBSET_SEED))
    within = torch.arange(len(labels)) - torch.repeat_interleave(starts, counts)
    kept = shuffled[within < per_class]
    return repeated_passes(kept, draws, generator)


def repeated_passes(images: Tensor, draws: int, generator: Generator) -> Tensor:
    """Pass over images, each time in a new order.

    Args:
        images: [n] int64.
        draws: number of images to draw, of as many passes as needed.
        generator: on the CPU.

    Returns:
        [draws] int64.
    """
    passes = -(-draws // len(images))
    orders = [torch.randperm(len(images), generator=generator) for _ in range(passes)]
    return images[torch.cat(orders)[:draws]]


def _distinct(total: int, draws: int, generator: Generator) -> Tensor:
    """Return [draws] random numbers below `total`, none twice.

    Args:
        total: at least `draws`.
        draws: how many.
        generator: on the CPU.
    """
    if total <= max(MOST_PERMUTED, 16 * draws):
        return torch.randperm(total, generator=generator)[:draws]
    drawn = torch.empty(0, dtype=torch.int64)
    while missing := draws - len(drawn):
        drawn = torch.cat([drawn, torch.randint(total, (missing,), generator=generator)])
        values, order = drawn.sort(stable=True)
        first = torch.ones(draws, dtype=torch.bool)
        first[order[1:]] = values[1:] != values[:-1]
        drawn = drawn[first]
    return drawn


def _shuffled_in_classes(labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return positions by class, shuffled within each class.

    Returns:
        [N] positions; for each class with images, their number and the offset of the first.
    """
    order = torch.randperm(len(labels), generator=generator)
    shuffled = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    return shuffled, counts[counts > 0], starts[counts > 0]
