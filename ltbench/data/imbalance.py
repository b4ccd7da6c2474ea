"""Training images per class of long-tailed splits and their balanced counterparts.

Class 0 is the largest, or with `class_order: size` the class with the most images. Counts are
truncated, as in the reference implementations: the order of the operations below is part of the
protocol, since another one may change a count by one.
"""

from collections.abc import Sequence

from ltbench.config.dataset import DatasetSpec, Split
from ltbench.core.groups import GROUPS, Group, by_size, class_groups, subset_classes
from ltbench.core.types import ClassSubset

PARETO_SHAPE = 6.0
"""Shape parameter a of the Pareto density."""


def exponential_counts(classes: int, largest: int, ratio: float) -> list[int]:
    """Return exponentially decaying class counts [C].

    `n_k = largest * mu^(k / (C - 1))` with `mu = 1 / ratio` (Cui et al. 2019; Cao et al. 2019).

    Args:
        classes: C.
        largest: images of class 0.
        ratio: imbalance ratio, of the largest to the smallest class.
    """
    mu = 1 / ratio
    return [int(largest * mu ** (k / (classes - 1.0))) for k in range(classes)]


def step_counts(classes: int, largest: int, ratio: float) -> list[int]:
    """Return step-imbalanced class counts [C].

    `largest` for the first half of the classes, `largest / ratio` for the others.
    """
    head = classes // 2
    return [largest] * head + [int(largest * (1 / ratio))] * (classes - head)


def pareto_counts(classes: int, largest: int, ratio: float) -> list[int]:
    """Return class counts [C] that follow a Pareto density.

    The density of shape a = 6, proportional to `x^-(a + 1)`, is sampled at equal steps, from x = 1
    at class 0 to where it has fallen by `ratio` at the last class:
    `n_k = largest * (1 + (ratio^(1 / (a + 1)) - 1) * k / (C - 1))^-(a + 1)`.
    The head falls faster than the exponential's, and the tail is flatter.
    """
    power = PARETO_SHAPE + 1
    end = ratio ** (1 / power)
    inner = [
        int(largest * (1 + (end - 1) * k / (classes - 1)) ** -power) for k in range(classes - 1)
    ]
    return [*inner, int(largest * (1 / ratio))]  # the last count without the rounding of the powers


IMBALANCE_TYPES = {
    "exponential": exponential_counts,
    "step": step_counts,
    "pareto": pareto_counts,
}
"""Class counts by imbalance type; a `natural` dataset keeps its own."""


def longtailed_counts(spec: DatasetSpec, full_counts: Sequence[int]) -> list[int]:
    """Return the class counts [C] of the long-tailed split.

    Args:
        spec: the dataset. Without `max_per_class`, the largest class gets the mean class size of
            the full training set, which is all of it if that is balanced.
        full_counts: [C] class counts of the full training set; without them, the classes are in
            the order of their indices.
    """
    if spec.imbalance_ratio is None:
        return list(full_counts)
    mean = sum(full_counts) // spec.classes
    largest = mean if spec.max_per_class is None else spec.max_per_class
    counts = IMBALANCE_TYPES[spec.imbalance_type](spec.classes, largest, spec.imbalance_ratio)
    if spec.class_order == "index" or not full_counts:
        return counts
    return [count for _, count in sorted(zip(by_size(full_counts), counts, strict=True))]


def balanced_counts(longtailed: Sequence[int]) -> list[int]:
    """Return the class counts [C] of the balanced counterpart.

    `floor(n / C)` images a class, so that the total is that of the long-tailed split.
    """
    return [sum(longtailed) // len(longtailed)] * len(longtailed)


def held_out_counts(spec: DatasetSpec, counts: Sequence[int]) -> list[int]:
    """Return the number of held-out images [C] of a split.

    All 0 unless the auxiliary images are a `train_holdout`; never more than half of a class.

    Args:
        spec: the dataset.
        counts: [C] class counts of the split.
    """
    auxiliary = spec.auxiliary
    if auxiliary is None or auxiliary.source != "train_holdout":
        return [0] * len(counts)
    return [min(auxiliary.per_class, n // 2) for n in counts]


def split_counts(spec: DatasetSpec, split: Split, subset: ClassSubset = "all") -> list[int] | None:
    """Return the planned class counts [K] of a split's subset.

    Returns:
        The counts; None if they depend on the images: `natural`, or `max_per_class` not given.
    """
    if spec.imbalance_ratio is None or spec.max_per_class is None:
        return None
    longtailed = longtailed_counts(spec, ())
    counts = longtailed if split == "longtailed" else balanced_counts(longtailed)
    held_out = held_out_counts(spec, counts)
    return [counts[k] - held_out[k] for k in subset_classes(subset, longtailed, spec.shot_rule)]


def split_size(spec: DatasetSpec, split: Split, subset: ClassSubset = "all") -> int | None:
    """Return the planned number of training images of a split.

    For official lists all images are counted: held-out images and subsets are not known.

    Returns:
        The number; None as of `split_counts`.
    """
    if spec.official_lists is not None:
        total = spec.official_lists.train.images
        return total if split == "longtailed" else total // spec.classes * spec.classes
    counts = split_counts(spec, split, subset)
    return None if counts is None else sum(counts)


def planned_groups(spec: DatasetSpec) -> frozenset[Group] | None:
    """Return the nonempty shot groups; None if they depend on the images."""
    if spec.official_lists is not None and spec.official_lists.group_sizes is not None:
        sizes = zip(GROUPS, spec.official_lists.group_sizes, strict=True)
        return frozenset(group for group, size in sizes if size > 0)
    if spec.imbalance_ratio is None or spec.max_per_class is None:
        return None
    return frozenset(class_groups(longtailed_counts(spec, ()), spec.shot_rule))
