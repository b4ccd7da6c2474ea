"""Training images per class of long-tailed splits and their balanced counterparts.

Class 0 is always the largest. Counts are truncated, as the field's generators do it, so that the
arithmetic below is part of the protocol: another order of evaluation may move a count by one.
"""

from collections.abc import Sequence

from ltbench.config.models import DatasetSpec, Split
from ltbench.core.groups import GROUPS, Group, class_groups, subset_classes
from ltbench.core.types import ClassSubset

PARETO_SHAPE = 6.0
"""Power of the Pareto profile."""


def exponential(classes: int, largest: int, ratio: float) -> list[int]:
    """Return `largest * mu^(k / (C - 1))`, `mu = 1 / ratio` (Cui et al. 2019; Cao et al. 2019)."""
    mu = 1 / ratio
    return [int(largest * mu ** (k / (classes - 1.0))) for k in range(classes)]


def step(classes: int, largest: int, ratio: float) -> list[int]:
    """Return `largest` for the first half of the classes, `largest / ratio` for the others."""
    head = classes // 2
    return [largest] * head + [int(largest * (1 / ratio))] * (classes - head)


def pareto(classes: int, largest: int, ratio: float) -> list[int]:
    """Return a Pareto density sampled at equal steps, from `largest` down to `largest / ratio`.

    The density of shape a = 6 falls like `x^-(a + 1)`; x runs from 1, at class 0, to where
    it has fallen by `ratio`, at the last class:
    `n_k = largest * (1 + (ratio^(1 / (a + 1)) - 1) * k / (C - 1))^-(a + 1)`.
    Its head falls faster than the exponential's and its tail is flatter.
    """
    power = PARETO_SHAPE + 1
    end = ratio ** (1 / power)
    inner = [
        int(largest * (1 + (end - 1) * k / (classes - 1)) ** -power) for k in range(classes - 1)
    ]
    return [*inner, int(largest * (1 / ratio))]  # the last point without the rounding of the powers


PROFILES = {"exponential": exponential, "step": step, "pareto": pareto}


def longtailed_counts(spec: DatasetSpec, pool: Sequence[int]) -> list[int]:
    """Return the training images of each class in the long-tailed split.

    Args:
        spec: the dataset. Without `largest`, class 0 gets the mean size of the pool's classes,
            which is all of class 0 in a balanced pool.
        pool: [C] images of each class before any are left out.
    """
    if spec.imbalance_ratio is None:
        return list(pool)
    largest = sum(pool) // spec.classes if spec.max_per_class is None else spec.max_per_class
    return PROFILES[spec.imbalance_type](spec.classes, largest, spec.imbalance_ratio)


def balanced_counts(longtailed: Sequence[int]) -> list[int]:
    """Return the balanced counts: the same total, `floor(n / C)` images a class."""
    return [sum(longtailed) // len(longtailed)] * len(longtailed)


def held_out_counts(spec: DatasetSpec, counts: Sequence[int]) -> list[int]:
    """Return the images of each class that `train_holdout` takes out of a split's `counts`.

    Never more than half of a class: one with a single image keeps it and lends none.
    """
    auxiliary = spec.auxiliary
    if auxiliary is None or auxiliary.source != "train_holdout":
        return [0] * len(counts)
    return [min(auxiliary.per_class, n // 2) for n in counts]


def split_counts(spec: DatasetSpec, split: Split, subset: ClassSubset = "all") -> list[int] | None:
    """Return the training images of each class of a subset without looking at the images.

    Returns:
        [K] counts; None where they depend on the images: natural profiles, `largest` not given.
    """
    if spec.imbalance_ratio is None or spec.max_per_class is None:
        return None
    longtailed = longtailed_counts(spec, ())
    counts = longtailed if split == "longtailed" else balanced_counts(longtailed)
    held_out = held_out_counts(spec, counts)
    return [counts[k] - held_out[k] for k in subset_classes(subset, longtailed, spec.shot_rule)]


def split_size(spec: DatasetSpec, split: Split, subset: ClassSubset = "all") -> int | None:
    """Return the number of training images of a split without looking at them, None as above.

    Lists do not say how many images are held out of them or belong to a subset: all are counted.
    """
    if spec.official_lists is not None:
        total = spec.official_lists.train.images
        return total if split == "longtailed" else total // spec.classes * spec.classes
    counts = split_counts(spec, split, subset)
    return None if counts is None else sum(counts)


def planned_groups(spec: DatasetSpec) -> frozenset[Group] | None:
    """Return the groups that have classes, None where only images can tell."""
    if spec.official_lists is not None and spec.official_lists.group_sizes is not None:
        sizes = zip(GROUPS, spec.official_lists.group_sizes, strict=True)
        return frozenset(group for group, size in sizes if size > 0)
    if spec.imbalance_ratio is None or spec.max_per_class is None:
        return None
    return frozenset(class_groups(longtailed_counts(spec, ()), spec.shot_rule))
