"""Cross-entropy of logits with class temperatures, margins and offsets.

Kini, Paraskevas, Oymak, Thrampoulidis, "Label-Imbalanced and Group-Sensitive Classification under
Overparameterization", NeurIPS 2021 (arXiv:2103.01550). Its special cases are logit adjustment and
class-dependent temperatures (CDT); with margins it is that of LDAM and RoBal.
"""

from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape
from ltbench.losses.class_weights import inverse_weights
from ltbench.losses.counts import as_constant
from ltbench.losses.cross_entropy import cross_entropy
from ltbench.losses.log_prior import log_prior


def vector_scaling(
    logits: Tensor,
    labels: Tensor,
    *,
    temperatures: Tensor | None = None,
    margins: Tensor | None = None,
    scale: float = 1.0,
    offsets: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the (weighted) cross-entropy of scaled and shifted logits.

        scale * (z_c / temperature_c - margin_c [c = y]) + offset_c

    Args:
        logits: [B, C].
        labels: [B], int64.
        temperatures: [C]; without them 1.
        margins: [C], of the label; without them 0.
        scale: inverse temperature of all classes.
        offsets: [C]; without them 0.
        weights: [C], of the classes.
    """
    of_classes = {"temperatures": temperatures, "margins": margins, "offsets": offsets}
    for name, values in of_classes.items():
        if values is not None:
            check_shape(name, values, logits.shape[-1])
    if temperatures is not None:
        logits = logits / as_constant(temperatures, logits)
    if margins is not None:
        check_labels(labels, logits.shape)
        margins, at_label = as_constant(margins, logits), labels.unsqueeze(1)
        logits = logits.to(margins.dtype).scatter_add(1, at_label, -margins[at_label])
    if scale != 1:
        logits = scale * at_least_float32(logits)
    if offsets is not None:
        logits = logits + as_constant(offsets, logits)
    return cross_entropy(logits, labels, weights)


def vs_loss(
    logits: Tensor, labels: Tensor, counts: Tensor, gamma: float = 0.3, tau: float = 1.0
) -> Tensor:
    """Return the cross-entropy of z (n / n_max)^gamma + tau log pi.

    With gamma 0 it is logit adjustment, with tau 0 it has class-dependent temperatures alone.

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        gamma: exponent of the temperatures (n_max / n)^gamma; the largest class has 1.
        tau: strength of the log prior.

    Raises:
        ValueError: for a class without images.
    """
    check_shape("counts", counts, logits.shape[-1])
    temperatures = inverse_weights(counts) ** gamma
    offsets = log_prior(counts, tau)
    return vector_scaling(logits, labels, temperatures=temperatures, offsets=offsets)
