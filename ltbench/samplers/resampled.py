"""Random over- and under-sampling: a training set made balanced by copying or leaving out images.

Buda, Maki, Mazurowski, "A systematic study of the class imbalance problem in convolutional neural
networks", Neural Networks 2018 (arXiv:1710.05381), section 2.1. Each function returns the first
draws of an epoch over the balanced set, as positions in `labels` [draws] int64.
"""

import torch
from torch import Generator, Tensor

SUBSET_SEED = 0
"""Of the images that under-sampling keeps: they belong to the data, whatever the training seed."""


def oversampled(labels: Tensor, draws: int, generator: Generator) -> Tensor:
    """Shuffle the set in which every class has as many entries as the largest has images.

    An image of a class with n of the largest's m images stands in it m // n times or once more;
    which ones do is drawn anew each epoch. No entry is drawn twice.

    Args:
        labels: [N] class of each image.
        draws: number of entries to draw, at most the size of the balanced set.
        generator: on the CPU.
    """
    shuffled, counts, starts = _shuffled_in_classes(labels, generator)
    largest = int(counts.max())
    entries = torch.randperm(len(counts) * largest, generator=generator)[:draws]
    classes = entries // largest
    return shuffled[starts[classes] + entries % largest % counts[classes]]


def undersampled(labels: Tensor, draws: int, generator: Generator) -> Tensor:
    """Go through the set in which every class keeps as many images as the smallest has.

    The images that are kept are chosen at random once, the same for every epoch and seed. They come
    in a new random order on each pass, as many passes as the draws take.

    Args:
        labels: [N] class of each image.
        draws: number of images to draw.
        generator: on the CPU.
    """
    shuffled, counts, starts = _shuffled_in_classes(labels, Generator().manual_seed(SUBSET_SEED))
    kept = shuffled[starts.unsqueeze(1) + torch.arange(int(counts.min()))].flatten()
    passes = -(-draws // len(kept))
    orders = [torch.randperm(len(kept), generator=generator) for _ in range(passes)]
    return kept[torch.cat(orders)[:draws]]


def _shuffled_in_classes(labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return positions [N] by class, shuffled in each; counts and starts of those with images."""
    order = torch.randperm(len(labels), generator=generator)
    shuffled = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    return shuffled, counts[counts > 0], starts[counts > 0]
