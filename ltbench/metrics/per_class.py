"""Accuracy by class, as exact counts."""

import torch
from torch import Tensor


def hits_and_totals(predictions: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return right predictions and images of each class, both [classes] int64.

    Args:
        predictions: [N], int64, predicted classes.
        labels: [N], int64.
        classes: C.
    """
    hits = torch.bincount(labels[predictions == labels], minlength=classes)
    return hits, torch.bincount(labels, minlength=classes)


def mean_class_accuracy(predictions: Tensor, labels: Tensor, classes: int) -> float:
    """Return the mean of the classes' accuracies, a fraction; classes without images do not count.

    Args:
        predictions: [N], int64, predicted classes.
        labels: [N], int64, at least one.
        classes: C.
    """
    hits, totals = hits_and_totals(predictions, labels, classes)
    there = totals > 0
    return float((hits[there].double() / totals[there]).mean())
