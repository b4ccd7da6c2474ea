"""What a training that ran away ends with, wherever it shows: losses, weights or predictions."""

from torch import Tensor, nn

from ltbench.core.distributed import all_sum

ADVICE = "a smaller learning rate or a longer warm-up may help"


class DivergedError(RuntimeError):
    """A loss, a weight or a prediction is not finite."""


def check_weights(module: nn.Module) -> None:
    """Refuse parameters that are not finite.

    Raises:
        DivergedError: naming the first one.
    """
    for name, parameter in module.named_parameters():
        if not parameter.isfinite().all():
            raise DivergedError(f"after training {name} is not finite; {ADVICE}")


def check_confidence(confidence: Tensor, what: str) -> None:
    """Refuse predictions without a finite probability, alike on every rank.

    Args:
        confidence: [N] largest class probability of each of this rank's images.
        what: was predicted.

    Raises:
        DivergedError: with their number over all ranks.
    """
    lost = int(all_sum((~confidence.isfinite()).sum()))
    if lost:
        raise DivergedError(f"the predictions of {lost:,} {what} are not finite; {ADVICE}")
