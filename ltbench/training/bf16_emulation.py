"""bfloat16 autocast on CPUs without bfloat16 instructions.

The product of two bfloat16 numbers is exact in float32, where hardware sums the products and rounds
once. A float32 convolution of rounded inputs, with a rounded output, equals the bfloat16 one but
for the order of the sum, at the speed of float32. PyTorch's own implementation on these CPUs is ten
times slower.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ltbench.core.hardware import processor_flags
from ltbench.runs.record import BFloat16

EMULATED = (F.conv2d, F.linear)


def bfloat16_kind(device: torch.device) -> BFloat16:
    """Return the bfloat16 implementation of a device.

    PyTorch's fast bfloat16 needs AVX-512; on a CPU without it we compute in float32 (`emulated`).
    """
    if device.type != "cpu":
        return "gpu"
    capability, flags = torch.backends.cpu.get_cpu_capability(), processor_flags()
    if capability in ("DEFAULT", "AVX2"):
        return "emulated"
    if "amx_bf16" in flags:
        return "amx"
    if "avx512_bf16" in flags:
        return "avx512_bf16"
    return "avx512" if capability == "AVX512" else "native"


class EmulatedBFloat16(TorchFunctionMode):
    """Emulates bfloat16 convolutions and linear layers under CPU autocast.

    They are computed in float32 on rounded inputs; outputs and gradients are rounded to bfloat16.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a PyTorch function, emulated if it is one of `EMULATED`."""
        kwargs = kwargs or {}
        if func not in EMULATED or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            arguments = {name: round_bfloat16(value) for name, value in kwargs.items()}
            output = func(*map(round_bfloat16, args), **arguments)
        return output if output.dtype == torch.float64 else output.bfloat16()


def round_bfloat16(value: Any) -> Any:
    """Round a tensor to bfloat16, stored as float32.

    float64 tensors and other values are returned unchanged.
    """
    if isinstance(value, Tensor) and value.dtype != torch.float64:
        return value.bfloat16().float()
    return value
