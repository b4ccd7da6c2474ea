"""Square-root sampling: classes are drawn by the square root of their size.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217).

    p_j = n_j^q / sum_i n_i^q    (1)    implemented with q = 1/2 (q = 1 is `softmax`, q = 0
                                        `class_balanced_sampling`)

An image of the class is then drawn uniformly, with replacement.
"""

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method, Stage
from ltbench.methods.papers import DECOUPLING


class SquareRootSampling(Method):
    """Cross-entropy on square-root-balanced batches, joint training."""

    title = "Square-root sampling"
    paper = DECOUPLING
    category = "re-sampling"
    stages = (Stage("train", samplers=("square_root",)),)
    oracle = "samplers"

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
