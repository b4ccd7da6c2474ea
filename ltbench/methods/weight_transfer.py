"""What a method takes over from a trained one."""

from collections.abc import Mapping

import torch
from torch import Tensor

BACKBONE = "network.backbone."
CLASSIFIER = "network.classifier."


def transfer_weights(
    own: Mapping[str, Tensor], start: Mapping[str, Tensor], needs: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return a method's state with the start's backbone, and its classifier where that fits.

    A classifier bias that the start does not have counts as zero, everything else stays. A start
    with the same names and shapes is taken whole: what a method keeps beside its network passes on
    from one of its stages to the next.

    Args:
        own: state of the method.
        start: state of the trained method.
        needs: classifier tensors that the start must have too, such as "weight".

    Raises:
        ValueError: naming each tensor that is missing or of another shape.
    """
    needed = {name for name in [*own, *start] if name.startswith(BACKBONE)}
    needed |= {CLASSIFIER + name for name in needs}
    fitting = {name for name in own if name in start and own[name].shape == start[name].shape}
    unmet = [
        f"{name}: {_shape(start, name)} there, {_shape(own, name)} here"
        for name in sorted(needed - fitting)
    ]
    if unmet:
        raise ValueError(f"the start does not fit this network: {'; '.join(unmet)}")
    if fitting == own.keys() == start.keys():
        return dict(start)
    state = dict(own)
    for name in own:
        if name in fitting and name.startswith((BACKBONE, CLASSIFIER)):
            state[name] = start[name]
        elif name == f"{CLASSIFIER}bias":
            state[name] = torch.zeros_like(own[name])
    return state


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return str(list(state[name].shape)) if name in state else "missing"
