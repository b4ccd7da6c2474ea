"""Random under-sampling: images of large classes are dropped to balance the classes.

Buda, Maki, Mazurowski, "A systematic study of the class imbalance problem in convolutional neural
networks", Neural Networks 2018 (arXiv:1710.05381), section 2.1.

    every class reduced to n_min random images     implemented
    dropping by rules (one-sided selection)        left out: another method

The same images are dropped in every epoch and for every seed: the subset belongs to the data. An
epoch passes over the subset as often as gives the same number of steps as any other sampler, so
that methods are compared at equal cost. If a class has a single image, one image per class is left:
the known weakness of the method.
"""

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method, Stage
from ltbench.methods.papers import IMBALANCE_STUDY


class Undersampling(Method):
    """Cross-entropy on a balanced subset of the training set."""

    title = "Random under-sampling"
    paper = IMBALANCE_STUDY
    category = "re-sampling"
    stages = (Stage("train", samplers=("undersampled",)),)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
