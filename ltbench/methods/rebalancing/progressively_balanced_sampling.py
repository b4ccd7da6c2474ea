"""Progressively-balanced sampling: from instance-balanced to class-balanced.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217).

    p_j(t) = (1 - t / T) n_j / N + (t / T) / C    (2)    implemented

t counts epochs from 0 and T is the number of epochs minus one, as in the authors' code: the last
epoch is class-balanced. A class is drawn, then one of its images uniformly, with replacement, in
the first epoch too.
"""

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method, Stage
from ltbench.methods.papers import DECOUPLING


class ProgressivelyBalancedSampling(Method):
    """Cross-entropy on progressively balanced batches, joint training."""

    title = "Progressively-balanced sampling"
    paper = DECOUPLING
    category = "re-sampling"
    stages = (Stage("train", samplers=("progressive",)),)
    oracle = "samplers"

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
