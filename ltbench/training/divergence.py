"""Divergence of a training: losses, weights or predictions that are not finite."""

from torch import Tensor, nn

from ltbench.core.distributed import all_sum

LEARNING_RATE_ADVICE = (
    "try a smaller learning rate or a longer warm-up; in a loss of your own, bound what roots, "
    "powers and logarithms are taken of"
)


class DivergedError(RuntimeError):
    """A loss, a weight or a prediction is not finite."""


def check_weights(module: nn.Module) -> None:
    """Check that all parameters are finite.

    Raises:
        DivergedError: naming the first one that is not.
    """
    for name, parameter in module.named_parameters():
        if not parameter.isfinite().all():
            raise DivergedError(
                f"the weights {name} are not finite after training: {LEARNING_RATE_ADVICE}"
            )


def check_confidence(confidence: Tensor, what: str) -> None:
    """Check that predictions are finite, with the same result on every rank.

    Args:
        confidence: [N] largest class probability of each of this rank's images.
        what: name of the images in the error message.

    Raises:
        DivergedError: with the number of bad predictions over all ranks.
    """
    count = int(all_sum((~confidence.isfinite()).sum()))
    if count:
        raise DivergedError(
            f"the predictions of {count:,} {what} are not finite: {LEARNING_RATE_ADVICE}"
        )
