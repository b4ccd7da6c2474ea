"""Losses: functions of logits, labels and class counts, averaged over the global batch."""

from ltbench.losses.balanced_softmax import balanced_softmax
from ltbench.losses.class_weights import (
    cost_sensitive_weights,
    effective_number_weights,
    inverse_weights,
    survey_weights,
)
from ltbench.losses.cross_entropy import cross_entropy
from ltbench.losses.ldam import ldam, ldam_margins
from ltbench.losses.log_prior import log_prior
from ltbench.losses.logit_adjustment import logit_adjustment, posthoc_adjustment

__all__ = [
    "balanced_softmax",
    "cost_sensitive_weights",
    "cross_entropy",
    "effective_number_weights",
    "inverse_weights",
    "ldam",
    "ldam_margins",
    "log_prior",
    "logit_adjustment",
    "posthoc_adjustment",
    "survey_weights",
]
