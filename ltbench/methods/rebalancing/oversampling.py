"""Random over-sampling: images of small classes are repeated to balance the classes.

Buda, Maki, Mazurowski, "A systematic study of the class imbalance problem in convolutional neural
networks", Neural Networks 2018 (arXiv:1710.05381), section 2.1.

    every class filled up to n_max with copies of its random images    implemented
    synthetic images (SMOTE)                                           left out: another method

The balanced set has each image of a class of n images n_max // n times, and random ones of them
once more, others in each epoch, to fill up. An epoch is a random part of the balanced set without
replacement, with as many steps as any other sampler, so that methods are compared at equal cost.
Unlike in `class_balanced_sampling` no copy is drawn twice: an image of the largest class is used at
most once per epoch.
"""

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method, Stage
from ltbench.methods.papers import IMBALANCE_STUDY


class Oversampling(Method):
    """Cross-entropy on a training set balanced by copies."""

    title = "Random over-sampling"
    paper = IMBALANCE_STUDY
    category = "re-sampling"
    stages = (Stage("train", samplers=("oversampled",)),)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
