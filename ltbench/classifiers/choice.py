"""Choice of a classifier by the loss that trains it."""

from torch import nn

from ltbench.classifiers.cosine import CosineClassifier
from ltbench.classifiers.linear import linear
from ltbench.losses.base_loss import BaseLoss
from ltbench.losses.ldam import SCALE


def classifier_for(loss: BaseLoss, width: int, classes: int) -> nn.Module:
    """Return the classifier of a loss: cosines for LDAM, else linear."""
    if loss == "ldam":
        return CosineClassifier(width, classes, SCALE)
    return linear(width, classes)
