"""Random under-sampling: images of large classes are left out until all classes are as small.

Buda, Maki, Mazurowski, "A systematic study of the class imbalance problem in convolutional neural
networks", Neural Networks 2018 (arXiv:1710.05381), section 2.1.

    every class cut down to n_min random images    implemented
    cutting by rules (one-sided selection)         left out: another method

What is left out is left out for good, and the same for every seed: the cut belongs to the data. An
epoch goes through the rest as often as it takes for the same number of steps as with any other
sampler, so that methods are compared at equal cost. A class of a single image leaves one image a
class: the known weakness of the method.
"""

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method, Stage
from ltbench.methods.papers import IMBALANCE_STUDY


class Undersampling(Method):
    """Cross-entropy on a training set with classes cut down to the smallest."""

    title = "Random under-sampling"
    paper = IMBALANCE_STUDY
    category = "re-sampling"
    stages = (Stage("train", samplers=("undersampled",)),)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
