"""Calibration: bins of confidence and accuracy, and temperature scaling.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (arXiv:1706.04599), with the bins
of the long-tailed literature (MiSLAS): equal intervals (lo, hi], so that a confidence of exactly 0
is in none and does not count.
"""

from dataclasses import dataclass
from math import fsum

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from ltbench.core.checks import check_labels, check_shape, check_value

TEMPERATURES = (0.05, 20.0)
"""Bounds of the search for a temperature."""

ROUNDING = 0.01
"""How far rounding may carry a softmax above 1: bfloat16 has steps of 2^-7."""


@dataclass(frozen=True)
class CalibrationBins:
    """Predictions by bin of confidence.

    Attributes:
        counts: [bins], int64, predictions.
        confidence: [bins], float64, mean confidence; 0 in an empty bin.
        accuracy: [bins], float64, share of correct predictions; 0 in an empty bin.
    """

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def ece(self) -> float:
        """Expected calibration error: sum of n_b / n * |accuracy - confidence|."""
        gaps = (self.accuracy - self.confidence).abs()
        return fsum((self.counts * gaps).tolist()) / max(int(self.counts.sum()), 1)


def calibration_bins(confidences: Tensor, correct: Tensor, bins: int = 15) -> CalibrationBins:
    """Sort predictions into equal bins of confidence.

    Args:
        confidences: [N], probabilities of the predicted classes.
        correct: [N], bool.
        bins: number of bins over [0, 1].

    Raises:
        ValueError: for a confidence that is not a probability.
    """
    check_shape("confidences", confidences, "N")
    check_shape("correct", correct, len(confidences))
    check_value("correct", correct.dtype, "bool", holds=correct.dtype == torch.bool)
    check_value("bins", bins, "at least 1", holds=bins >= 1)
    if not ((confidences >= 0) & (confidences < 1 + ROUNDING)).all():
        raise ValueError("confidences: expected probabilities, from 0 to 1")
    confidences = confidences.double().clamp(max=1)  # rounding may carry a softmax above 1
    edges = torch.from_numpy(np.linspace(0, 1, bins + 1)).to(confidences.device)
    position = torch.bucketize(confidences, edges)  # edges[p - 1] < confidence <= edges[p]
    counts, confidence, accuracy = (
        torch.bincount(position, weights, minlength=bins + 1)[1:]
        for weights in (None, confidences, correct.double())
    )
    size = counts.clamp_min(1)
    return CalibrationBins(counts, confidence / size, accuracy / size)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the T of maximum likelihood of softmax(logits / T).

    Args:
        logits: [N, C].
        labels: [N], int64.
    """
    check_labels(labels, logits.shape, values=True)
    if not logits.isfinite().all():
        raise ValueError("a logit is not finite")
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / np.exp(log_temperature), labels))

    result = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(result.x))
