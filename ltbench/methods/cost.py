"""What a method's network costs: its parameters, and the arithmetic of one prediction."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from ltbench.core.nouns import NetworkCost
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
    method = kind(SPEC, torch.tensor(COUNTS)).eval()
    method.stage = method.stages[-1]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        method.predict(torch.zeros(1, SPEC.channels, 32, 32))
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        megaflops=round(counter.get_total_flops() / 1e6, 1),
    )
