"""Linear classifier."""

from torch import nn


def linear(width: int, classes: int) -> nn.Linear:
    """Return a linear classifier, features [B, width] -> logits [B, classes].

    Weights are uniform in +-1/sqrt(width), biases zero.
    """
    classifier = nn.Linear(width, classes)
    nn.init.zeros_(classifier.bias)
    return classifier


def reset_linear(classifier: nn.Linear) -> None:
    """Re-initialize a linear classifier from torch's default generator."""
    classifier.reset_parameters()
    nn.init.zeros_(classifier.bias)
