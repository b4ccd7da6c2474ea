"""Cost of a method's network: parameters, and arithmetic of one prediction."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ltbench.core.types import COST_BACKBONE, NetworkCost
from ltbench.methods import METHODS
from ltbench.methods.contract import Method
from ltbench.networks import NetworkSpec

SPEC = NetworkSpec(COST_BACKBONE, classes=100)
OTHERS = ("resnet8", "fastnet")
"""Other networks of the boards that ship."""
COUNTS = [int(500 * 0.01 ** (k / 99)) for k in range(100)]
"""CIFAR-100-LT, ratio 100."""


def network_cost(kind: type[Method], network: str = SPEC.backbone) -> NetworkCost:
    """Measure a method on a small network with the classes of CIFAR-100-LT.

    Hyper-parameters are the defaults. Arithmetic is that of convolutions and matrix products, for
    one test image.

    Args:
        kind: the class of the method.
        network: name of a backbone.
    """
    method = _build(kind, network)
    return NetworkCost(
        parameters=all_parameters(method),
        megaflops=_megaflops(method),
        teachers=tuple(
            _megaflops(_build(METHODS[teacher.method], network, **teacher.hparams))
            for teacher in kind.teachers
        ),
    )


def all_parameters(method: Method) -> int:
    """Return a method's number of parameters, with teachers and momentum copies."""
    return sum(parameter.numel() for parameter in method.parameters())


def trained_parameters(method: Method) -> int:
    """Return the number of parameters that a method's stage trains."""
    if not method.stage.is_trained:
        return 0
    return sum(p.numel() for p in method.parameters() if p.requires_grad)


def read_parameters(method: Method, images: Tensor) -> int:
    """Return the number of parameters that a prediction reads.

    A parameter counts as a whole if it is an argument of any operation. Teachers, momentum copies
    and heads that a prediction does not touch do not count, nor do experts that none of the images
    is routed to, nor buffers such as class means and BatchNorm's statistics.

    Args:
        method: in evaluation mode.
        images: [B, C, H, W].
    """
    # Inference mode would show composed operations whole, and not what autocast does inside them.
    with torch.inference_mode(mode=False), torch.no_grad(), _Reading() as reading:
        method.predict(images)
    return sum(p.numel() for p in method.parameters() if _memory(p) in reading.memory)


class _Reading(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the memory of all operations' arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.memory: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call an operation, and record the memory of its tensors."""
        arguments = tree_leaves((args, kwargs))
        self.memory.update(_memory(value) for value in arguments if isinstance(value, Tensor))
        return func(*args, **(kwargs or {}))


def _memory(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


def _build(kind: type[Method], network: str, **hparams: Any) -> Method:
    method = kind(
        replace(SPEC, backbone=network), torch.tensor(COUNTS), kind.HParams(**hparams)
    ).eval()
    method.stage = method.stage_of(method.stages[-1].name)
    return method


def _megaflops(method: Method) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        method.predict(torch.zeros(1, SPEC.channels, 32, 32))
    total: int = counter.get_total_flops()
    return round(total / 1e6, 1)
