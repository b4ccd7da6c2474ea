"""Precision, autocast and compilation of a recipe.

On a GPU `fp32` is IEEE single precision, unlike PyTorch's default for convolutions; `tf32` lets
convolutions and matrix products round their inputs to 10 bits. On a CPU both are the same.
"""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ltbench.config.recipe import Recipe
from ltbench.methods.contract import Method
from ltbench.training.bf16_emulation import EmulatedBFloat16, bfloat16_kind

COMPILE_FROM = 5_000
"""Least steps of a stage for which `compile: auto` compiles.

Compilation takes as long as hundreds of steps; a compiled step saves a tenth or more of its time on
a CPU and most of its kernel launches on a GPU (`benchmarks/steps.py --compile`).
"""


def set_precision(recipe: Recipe) -> None:
    """Set this process's float32 precision on GPUs: IEEE or TF32."""
    precision = "tf32" if recipe.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]


@contextmanager
def autocast(recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Open the autocast context of forward passes: bf16 or none."""
    bfloat16 = recipe.precision == "bf16"
    emulated = bfloat16 and bfloat16_kind(device) == "emulated"
    emulation = EmulatedBFloat16() if emulated else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16), emulation:
        yield


def should_compile(recipe: Recipe, steps: int) -> bool:
    """Return whether a stage of a number of steps is compiled."""
    return recipe.compile == "on" or (recipe.compile == "auto" and steps >= COMPILE_FROM)


def compile_backbone(method: Method, device: torch.device) -> None:
    """Compile a method's backbone, or its network if it has none.

    On a GPU with CUDA graphs. Weights keep their names. Losses, samplers and the optimizer are not
    compiled, so that any method can be. Tests are not (`eager`): they are too short to pay for it.

    Raises:
        RuntimeError: if there is no C++ compiler for the CPU.
    """
    if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise RuntimeError(
            "the recipe compiles the network: install a C++ compiler (g++) or set compile: off"
        )
    network: nn.Module = getattr(method.network, "backbone", method.network)
    network.compile(mode="reduce-overhead" if device.type == "cuda" else "default")


def eager() -> AbstractContextManager[Any]:
    """Return a context in which compiled modules run uncompiled."""
    context: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return context
