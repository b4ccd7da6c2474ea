"""Metrics of per-class counts: exact fractions."""

from collections.abc import Sequence
from fractions import Fraction

from ltbench.core.exact import mean, mean_accuracy
from ltbench.core.groups import GROUPS, Group


def group_accuracies(
    hits: Sequence[int], totals: Sequence[int], groups: Sequence[Group]
) -> dict[Group, Fraction | None]:
    """Return the mean per-class accuracy within each group, a fraction.

    Classes without a test image are left out; a group that is empty then has no accuracy.

    Args:
        hits: [C], right predictions of each class.
        totals: [C], test images of each class.
        groups: [C], from `class_groups`.
    """
    return {
        group: mean_accuracy(hits, totals, [each == group for each in groups]) for group in GROUPS
    }


def macro_f1(
    hits: Sequence[int], totals: Sequence[int], predicted: Sequence[int]
) -> Fraction | None:
    """Return the mean F1 of the classes that the test set has, a fraction.

    F1 of a class is the harmonic mean of recall, hits / totals, and precision, hits / predicted:
    2 hits / (totals + predicted).

    Args:
        hits: [C], right predictions of each class.
        totals: [C], test images of each class.
        predicted: [C], test images taken for each class.
    """
    counts = zip(hits, totals, predicted, strict=True)
    classes = [Fraction(2 * h, n + p) for h, n, p in counts if n > 0]
    return mean(classes) if classes else None
