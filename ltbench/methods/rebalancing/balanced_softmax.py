"""Balanced softmax: cross-entropy of logits with the log prior added.

Ren, Yu, Sheng, Ma, Zhao, Yi, Li, "Balanced Meta-Softmax for Long-Tailed Visual Recognition",
NeurIPS 2020 (arXiv:2007.10740).

    p_j = n_j exp(z_j) / sum_i n_i exp(z_i)    theorem 1, (3)    implemented
    L = -log p_y                                                 implemented
    z - (1/4) log n, from the margins of theorem 2               left out: the authors drop the 1/4
    meta sampler                                                 left out: another method

The test uses the plain logits z. The authors' code adds log n, ours log n less its maximum: the
same loss, and plain cross-entropy bit for bit when counts are equal.
"""

from ltbench.losses import balanced_softmax
from ltbench.methods.contract import Batch, Loss, Method
from ltbench.methods.papers import BALANCED_META_SOFTMAX


class BalancedSoftmax(Method):
    """Cross-entropy of logits with the log counts added."""

    title = "Balanced Softmax"
    paper = BALANCED_META_SOFTMAX
    category = "cost-sensitive"
    reduces_to = "softmax"
    oracle = "balanced_softmax"

    def training_loss(self, batch: Batch) -> Loss:
        """Return the balanced softmax loss."""
        return balanced_softmax(self.network(batch.images), batch.labels, self.counts)
