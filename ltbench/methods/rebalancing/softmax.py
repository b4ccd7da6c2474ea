"""Softmax cross-entropy, the baseline: every image has the same weight.

L = -log p_y,  p = softmax(z)    implemented
"""

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method


class Softmax(Method):
    """Cross-entropy on instance-balanced batches."""

    title = "Softmax"
    paper = None
    category = "baseline"
    oracle = "weighted_ce"

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
