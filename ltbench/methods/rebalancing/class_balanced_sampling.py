"""Class-balanced sampling: cross-entropy on batches with equally likely classes.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217).

    p_j = n_j^q / sum_i n_i^q    (1)    implemented with q = 0 (q = 1 is `softmax`; q = 1/2 and the
                                        progressive mixture (2) are other methods)

With equal counts it is not `softmax`: it draws with replacement, softmax uses each image once per
epoch.
"""

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method, Stage
from ltbench.methods.papers import DECOUPLING


class ClassBalancedSampling(Method):
    """Cross-entropy on class-balanced batches, joint training."""

    title = "Class-balanced sampling"
    paper = DECOUPLING
    category = "re-sampling"
    stages = (Stage("train", samplers=("class_balanced",)),)
    oracle = "samplers"

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
