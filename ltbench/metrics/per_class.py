"""Per-class accuracy, as exact counts."""

from collections import Counter

import torch
from torch import Tensor

from ltbench.core.checks import check_labels
from ltbench.core.exact import mean_accuracy


def hits_and_totals(predictions: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return correct predictions and images per class, both [classes] int64.

    Args:
        predictions: [N], int64, predicted classes.
        labels: [N], int64.
        classes: C.
    """
    _check(predictions, labels, classes)
    hits = torch.bincount(labels[predictions == labels], minlength=classes)
    return hits, torch.bincount(labels, minlength=classes)


def confusion_rows(predictions: Tensor, labels: Tensor, classes: int) -> list[dict[int, int]]:
    """Return the confusion matrix by rows, without zeros.

    Args:
        predictions: [N], int64, predicted classes.
        labels: [N], int64.
        classes: C.
    """
    _check(predictions, labels, classes)
    rows: list[dict[int, int]] = [{} for _ in range(classes)]  # predicted class to images
    pairs = Counter(zip(labels.tolist(), predictions.tolist(), strict=True))
    for (label, prediction), count in sorted(pairs.items()):
        rows[label][prediction] = count
    return rows


def mean_class_accuracy(predictions: Tensor, labels: Tensor, classes: int) -> float:
    """Return the mean of the classes' accuracies, a fraction.

    Classes without images do not count.

    Args:
        predictions: [N], int64, predicted classes.
        labels: [N], int64, at least one.
        classes: C.
    """
    hits, totals = (each.tolist() for each in hits_and_totals(predictions, labels, classes))
    return float(mean_accuracy(hits, totals) or 0)  # exact: the order of classes has no effect


def _check(predictions: Tensor, labels: Tensor, classes: int) -> None:
    check_labels(labels, (len(labels), classes), values=True)
    check_labels(predictions, (len(labels), classes), "predictions", values=True)
