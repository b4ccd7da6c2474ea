"""bfloat16 autocast on a CPU without arithmetic for it.

The product of two bfloat16 numbers is exact in float32, where hardware sums products and rounds the
sum once. A convolution of rounded factors in float32, rounded, is the same but for the order of the
sum, and as fast as in float32. PyTorch's own way on these CPUs takes ten times as long.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ltbench.core.hardware import processor_flags
from ltbench.runs.record import BFloat16

PRODUCTS = (F.conv2d, F.linear)


def bfloat16_kind(device: torch.device) -> BFloat16:
    """Return what multiplies bfloat16 numbers on a device.

    PyTorch's fast bfloat16 needs AVX-512; a CPU without it computes in float32 (`emulated`).
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


class RoundedProducts(TorchFunctionMode):
    """Computes convolutions and linear layers under CPU autocast in float32, on rounded factors.

    Values and gradients are rounded to bfloat16 where autocast has them in bfloat16.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch's, with rounded factors if it is one of the products."""
        named = kwargs or {}
        if func not in PRODUCTS or not torch.is_autocast_enabled("cpu"):
            return func(*args, **named)
        with torch.autocast("cpu", enabled=False):
            product = func(*map(rounded, args), **{key: rounded(named[key]) for key in named})
        return product if product.dtype == torch.float64 else product.bfloat16()


def rounded(value: Any) -> Any:
    """Return a tensor rounded to bfloat16, as float32; doubles and other values as they are."""
    if isinstance(value, Tensor) and value.dtype != torch.float64:
        return value.bfloat16().float()
    return value
