"""BatchNorm folding: faster predictions of a trained network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


@contextmanager
def folded_batchnorm(module: nn.Module, run: Callable[[], object]) -> Iterator[None]:
    """Fold each BatchNorm of a module into the convolution before it.

    In evaluation mode the two are one affine map, so that predictions change only by rounding. A
    folded BatchNorm is the identity inside the context, and restored at its end.

    Args:
        module: in evaluation mode; only the BatchNorm may use a convolution's output.
        run: runs the module once, to find which BatchNorm follows which convolution.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for convolution, norm in _pairs(module, run):
        replaced[convolution] = fuse_conv_bn_eval(convolution, norm)
        replaced[norm] = nn.Identity()
    layers = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if child in replaced
    ]
    try:
        for parent, name, child in layers:
            parent.register_module(name, replaced[child])
        yield
    finally:
        for parent, name, child in layers:
            parent.register_module(name, child)


def _pairs(module: nn.Module, run: Callable[[], object]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return the pairs of a convolution and the only BatchNorm after it."""
    outputs: dict[int, tuple[nn.Conv2d, Tensor, int]] = {}  # keeps maps alive: unique ids
    sources_of: dict[nn.BatchNorm2d, set[nn.Conv2d | None]] = {}

    def after_convolution(layer: nn.Module, _: object, maps: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            version = maps._version  # noqa: SLF001 - torch's count of in-place changes
            outputs[id(maps)] = layer, maps, version

    def before_norm(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if type(layer) is nn.BatchNorm2d:  # subclasses do more than normalize
            source, _, version = outputs.get(id(inputs[0]), (None, None, None))
            unchanged = inputs[0]._version == version  # noqa: SLF001
            sources_of.setdefault(layer, set()).add(source if unchanged else None)

    hooks = [
        hook
        for layer in module.modules()
        for hook in (
            layer.register_forward_hook(after_convolution),
            layer.register_forward_pre_hook(before_norm),
        )
    ]
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    all_sources = [source for sources in sources_of.values() for source in sources]
    return [
        (source, norm)
        for norm, sources in sources_of.items()
        for source in sources
        if source is not None and len(sources) == 1 and all_sources.count(source) == 1
    ]
