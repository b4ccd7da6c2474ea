"""Losses of `metric_terms`, which must not be zero from the start.

Where an epoch has no pair or triplet to compare, a method trains as if the loss were not there. A
hinge that was active and is zero later has reached its margin, which is no fault.
"""

from collections.abc import Mapping, Sequence

FEW_IMAGES_ADVICE = (
    "take several images of a class in each batch, by a stage with samplers "
    "('class_aware(per_class=4)',), a larger batch_size, or a larger margin of the loss"
)


class InactiveTermError(RuntimeError):
    """A metric term that was zero in all steps so far."""


def check_terms(
    method: str,
    epoch: int,
    counts: Mapping[str, Sequence[int]],
    before: Mapping[str, Sequence[int]],
) -> None:
    """Check that each metric term was active in some step so far.

    Args:
        method: its key.
        epoch: counted from 1.
        counts: of each term, the steps in which it was not zero, and all steps.
        before: the same of the epochs before.

    Raises:
        InactiveTermError: naming method, terms, epoch, and what to change.
    """
    idle = [
        f"{term!r}"
        for term, (active, _) in counts.items()
        if active == 0 and before.get(term, (0, 0))[0] == 0
    ]
    if idle:
        steps = max(total for _, total in counts.values())
        raise InactiveTermError(
            f"the loss {' and '.join(idle)} of {method} was zero in all {steps} steps of epoch "
            f"{epoch}: {FEW_IMAGES_ADVICE}"
        )
