"""BatchNorm folded into convolutions, for faster predictions from a network that is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


@contextmanager
def folded_batchnorm(module: nn.Module, run: Callable[[], object]) -> Iterator[None]:
    """Let each convolution of a module do the work of the BatchNorm that follows it.

    In evaluation mode the two are one affine map, so that predictions change by rounding alone.
    Inside the context a folded BatchNorm is the identity; afterwards all is as before.

    Args:
        module: in evaluation mode; nothing but the BatchNorm may use a convolution's output.
        run: runs the module once, to see which BatchNorm follows which convolution.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for convolution, norm in _pairs(module, run):
        replaced[convolution] = fuse_conv_bn_eval(convolution, norm)
        replaced[norm] = nn.Identity()
    places = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if child in replaced
    ]
    try:
        for parent, name, child in places:
            parent.register_module(name, replaced[child])
        yield
    finally:
        for parent, name, child in places:
            parent.register_module(name, child)


def _pairs(module: nn.Module, run: Callable[[], object]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return the convolutions and BatchNorms that only ever work on each other's maps."""
    made: dict[int, tuple[nn.Conv2d, Tensor, int]] = {}  # maps stay alive: their ids stay unique
    after: dict[nn.BatchNorm2d, set[nn.Conv2d | None]] = {}

    def convolved(layer: nn.Module, _: object, maps: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            made[id(maps)] = layer, maps, maps._version  # noqa: SLF001 - torch's count of changes

    def normalized(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if type(layer) is nn.BatchNorm2d:  # subclasses do more than normalise
            source, _, version = made.get(id(inputs[0]), (None, None, None))
            unchanged = inputs[0]._version == version  # noqa: SLF001
            after.setdefault(layer, set()).add(source if unchanged else None)

    hooks = [
        hook
        for layer in module.modules()
        for hook in (
            layer.register_forward_hook(convolved),
            layer.register_forward_pre_hook(normalized),
        )
    ]
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    sources = [source for of_norm in after.values() for source in of_norm]
    return [
        (source, norm)
        for norm, of_norm in after.items()
        for source in of_norm
        if source is not None and len(of_norm) == 1 and sources.count(source) == 1
    ]
