"""The linear classifier."""

from torch import nn


def linear(width: int, classes: int) -> nn.Linear:
    """Return a linear classifier, features [B, width] -> logits [B, classes].

    Weights are uniform in +-1/sqrt(width); biases are zero, so that classes begin equal.
    """
    classifier = nn.Linear(width, classes)
    nn.init.zeros_(classifier.bias)
    return classifier


def reset_linear(classifier: nn.Linear) -> None:
    """Initialise a linear classifier anew, from torch's default generator."""
    classifier.reset_parameters()
    nn.init.zeros_(classifier.bias)
