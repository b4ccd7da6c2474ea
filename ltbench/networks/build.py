"""Builder of backbones by name.

timm takes a second to import, and is imported only for its own backbones.
"""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ltbench.core.types import CIFAR_RESNETS, FASTNETS, SMALL_BACKBONES
from ltbench.networks.fastnet import FastNet
from ltbench.networks.resnet_cifar import CifarResNet

if TYPE_CHECKING:
    from timm.models.resnet import ResNet


@dataclass(frozen=True)
class NetworkSpec:
    """Specification of a method's network.

    Attributes:
        backbone: name of a small backbone or of a timm model (see `build_backbone`).
        classes: number of classes.
        channels: of the images.
        norm: normalization layers of a small backbone.
        weights: pretrained weights of the backbone: a tag of timm's, or a file.
        mean: of the images by channel, in [0, 1]: an image is (pixels / 255 - mean) / std.
        std: of the images by channel; empty, as `mean`, if images are as they are.
    """

    backbone: str
    classes: int
    channels: int = 3
    norm: Literal["batch", "group"] = "batch"
    weights: str | Path | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def build_backbone(spec: NetworkSpec) -> tuple[nn.Module, int]:
    """Return a backbone and its number of features.

    Small backbones are built here: CIFAR ResNets (resnet8, resnet20, resnet32) and FastNets
    (fastnet, fastnet_narrow, fastnet_wide). Every other name is a timm model without classifier.

    Returns:
        A module, images [B, C, H, W] -> features [B, D], and D.

    Raises:
        ValueError: for an unknown name, and for weights that do not fit.
    """
    if spec.backbone in SMALL_BACKBONES:
        if spec.weights is not None:
            raise ValueError(f"{spec.backbone} has no pretrained weights: use a backbone of timm")
        network = small_backbone(spec)
        return network, network.width
    import timm

    import ltbench.networks.resnet10  # noqa: F401 - registers it with timm

    if not timm.is_model(spec.backbone):
        raise ValueError(f"no backbone {spec.backbone!r}: neither built here nor in timm")
    if spec.norm != "batch":
        raise ValueError(
            f"norm {spec.norm!r} is for small backbones; {spec.backbone} is a timm model"
        )
    model = timm_model(spec)
    return model, int(model.num_features)


def small_backbone(spec: NetworkSpec, *, reduced: bool = False) -> CifarResNet | FastNet:
    """Return a small backbone; `reduced` narrows its later stages by a quarter."""
    if spec.backbone in FASTNETS:
        first, second, third = FASTNETS[spec.backbone]
        later = (second * 3 // 4, third * 3 // 4) if reduced else (second, third)
        return FastNet(spec.channels, spec.norm, (first, *later))
    widths = (16, 24, 48) if reduced else (16, 32, 64)
    return CifarResNet(CIFAR_RESNETS[spec.backbone], spec.channels, spec.norm, widths)


def timm_model(spec: NetworkSpec, **settings: Any) -> Any:
    """Return a timm model without classifier, with the weights of a spec.

    Raises:
        ValueError: for weights that do not fit.
    """
    import timm

    settings |= {"num_classes": 0, "in_chans": spec.channels}
    if isinstance(spec.weights, str):
        name = f"{spec.backbone}.{spec.weights}"
        return timm.create_model(name, pretrained=True, **settings)
    model = timm.create_model(spec.backbone, **settings)
    if spec.weights is not None:
        classifier = f"{model.pretrained_cfg.get('classifier') or 'fc'}."
        state = read_weights(spec.weights)
        kept = {name: value for name, value in state.items() if not name.startswith(classifier)}
        try:
            model.load_state_dict(kept)
        except RuntimeError as error:
            raise ValueError(f"{spec.weights} does not fit {spec.backbone}: {error}") from None
    return model


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Read a state dict of safetensors or `torch.save`; runs no code.

    Raises:
        ValueError: if it is neither.
    """
    try:
        safe = file.suffix == ".safetensors"
        state = load_file(file) if safe else torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        problem = str(error).partition("\n")[0]
        raise ValueError(f"{file} cannot be read as weights: {problem}") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{file} is no state dict: it must hold tensors by name")
    return state


def timm_backbones() -> list[str]:
    """Return the names of timm's models, with those that are registered here."""
    import timm

    import ltbench.networks.resnet10  # noqa: F401 - registers it with timm

    return list(timm.list_models())


def fixed_image_size(backbone: str) -> int | None:
    """Return the image size of a timm model, None for any size.

    Raises:
        ValueError: if timm has no such model.
    """
    import timm

    if not timm.is_model(backbone):
        raise ValueError(f"no backbone {backbone!r}: neither built here nor in timm")
    config = timm.get_pretrained_cfg(backbone, allow_unregistered=False)
    return int(config.input_size[-1]) if config and config.fixed_input_size else None


def is_timm_resnet(backbone: nn.Module) -> "TypeGuard[ResNet]":
    """Return whether a backbone is a ResNet or ResNeXt of timm."""
    from timm.models.resnet import ResNet

    return isinstance(backbone, ResNet)
