"""How a recipe's arithmetic is set up: precision, autocast, compilation.

On a GPU `fp32` is IEEE single precision, which PyTorch's convolutions are not by default; `tf32`
lets them and matrix products round their factors to 10 bits. On a CPU both are the same.
"""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ltbench.config.models import Recipe
from ltbench.methods.contract import Method
from ltbench.training.bf16_emulation import RoundedProducts, bfloat16_kind

COMPILE_FROM = 5_000
"""Steps of a stage from which `compile: auto` compiles.

Compiling takes as long as hundreds of steps; a compiled step saves a tenth or more of its time on a
CPU and most of its launches on a GPU (`benchmarks/steps.py --compile`).
"""


def set_precision(recipe: Recipe) -> None:
    """Set what float32 means on a GPU, for this process."""
    meaning = "tf32" if recipe.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = meaning
    torch.backends.cudnn.conv.fp32_precision = meaning  # type: ignore[attr-defined]


@contextmanager
def autocast(recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Open the context that forward passes run in: bf16 autocast where the recipe says so."""
    bfloat16 = recipe.precision == "bf16"
    emulated = bfloat16 and bfloat16_kind(device) == "emulated"
    rounds = RoundedProducts() if emulated else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16), rounds:
        yield


def compiles(recipe: Recipe, steps: int) -> bool:
    """Return whether a stage of so many steps is compiled: `auto` where it pays back."""
    return recipe.compile == "on" or (recipe.compile == "auto" and steps >= COMPILE_FROM)


def compile_backbone(method: Method, device: torch.device) -> None:
    """Compile a method's backbone, or all of a network that has none; CUDA graphs on a GPU.

    Weights keep their names. Losses, samplers and the optimiser stay as they are, so that any
    method can be compiled. Tests run without (`eager`): they are too short to pay for it.

    Raises:
        RuntimeError: where PyTorch finds no C++ compiler for the CPU.
    """
    if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise RuntimeError("the recipe compiles the network, which needs a C++ compiler (g++)")
    network: nn.Module = getattr(method.network, "backbone", method.network)
    network.compile(mode="reduce-overhead" if device.type == "cuda" else "default")


def eager() -> AbstractContextManager[Any]:
    """Return a context in which compiled modules run as they were written."""
    context: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return context
