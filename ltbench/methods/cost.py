"""What a method's network costs: its parameters, and the arithmetic of one prediction."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ltbench.core.nouns import NetworkCost
from ltbench.methods import METHODS
from ltbench.methods.base import Method
from ltbench.networks import NetworkSpec

SPEC = NetworkSpec("resnet32", classes=100)
COUNTS = [int(500 * 0.01 ** (k / 99)) for k in range(100)]
"""CIFAR-100-LT, ratio 100."""


def network_cost(kind: type[Method]) -> NetworkCost:
    """Measure a method with its default hyper-parameters, ResNet-32 and CIFAR-100-LT's classes.

    Parameters are all of the module, teachers and momentum copies too. Arithmetic is that of
    convolutions and matrix products, for one test image.
    """
    method = _built(kind)
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        megaflops=_megaflops(method),
        teachers=tuple(
            _megaflops(_built(METHODS[teacher.method], **teacher.hyper))
            for teacher in kind.teachers
        ),
    )


def _built(kind: type[Method], **hyper: Any) -> Method:
    method = kind(SPEC, torch.tensor(COUNTS), kind.Hyper(**hyper)).eval()
    method.stage = method.stage_of(method.stages[-1].name)
    return method


def _megaflops(method: Method) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        method.predict(torch.zeros(1, SPEC.channels, 32, 32))
    total: int = counter.get_total_flops()
    return round(total / 1e6, 1)
