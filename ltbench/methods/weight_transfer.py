"""Weight transfer from one stage to the next."""

from collections.abc import Mapping

import torch
from torch import Tensor

BACKBONE = "network.backbone."
CLASSIFIER = "network.classifier."


def transfer_weights(
    state: Mapping[str, Tensor], trained: Mapping[str, Tensor], required: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return a method's state with the weights of a trained method.

    If all names and shapes match, the whole trained state is taken: buffers of a method's first
    stage reach its second. Otherwise the backbone is taken, and every tensor of the classifier that
    fits; a bias of the classifier that does not fit is set to zero, and everything else stays.

    Args:
        state: of the method, by name.
        trained: of the trained method.
        required: classifier tensors that the trained method must have, such as "weight".

    Raises:
        ValueError: naming each tensor that is missing or of another shape.
    """
    needed = {name for name in [*state, *trained] if name.startswith(BACKBONE)}
    needed |= {CLASSIFIER + name for name in required}
    fitting = {
        name for name in state if name in trained and state[name].shape == trained[name].shape
    }
    misfits = [
        f"{name}: {_shape(trained, name)} in the weights, {_shape(state, name)} in the network"
        for name in sorted(needed - fitting)
    ]
    if misfits:
        raise ValueError(f"the init weights do not fit this network: {'; '.join(misfits)}")
    if fitting == state.keys() == trained.keys():
        return dict(trained)
    merged = dict(state)
    for name in state:
        if name in fitting and name.startswith((BACKBONE, CLASSIFIER)):
            merged[name] = trained[name]
        elif name == f"{CLASSIFIER}bias":
            merged[name] = torch.zeros_like(state[name])
    return merged


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return str(list(state[name].shape)) if name in state else "missing"
