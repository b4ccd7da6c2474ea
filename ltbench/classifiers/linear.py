"""Linear classifier."""

import math

from torch import nn


def linear(width: int, classes: int) -> nn.Linear:
    """Return a linear classifier, features [B, width] -> logits [B, classes].

    Weights are uniform in +-1/sqrt(width), biases zero.
    """
    classifier = nn.Linear(width, classes)
    nn.init.zeros_(classifier.bias)
    return classifier


def one_vs_all(width: int, classes: int) -> nn.Linear:
    """Return a linear classifier whose sigmoids start at probability 1 / C.

    As `linear`, with the biases -ln(C - 1): Cui et al., CVPR 2019 (arXiv:1901.05555), section 4.2.
    """
    classifier = linear(width, classes)
    nn.init.constant_(classifier.bias, -math.log(classes - 1))
    return classifier


def reset_linear(classifier: nn.Linear) -> None:
    """Re-initialize a linear classifier from torch's default generator."""
    classifier.reset_parameters()
    nn.init.zeros_(classifier.bias)
