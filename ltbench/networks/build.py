"""From a backbone's name to a module that ends in features.

timm takes a second to load, and is loaded where a backbone is one of its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from safetensors.torch import load_file
from torch import nn

from ltbench.core.types import CIFAR_RESNETS
from ltbench.networks.resnet_cifar import CifarResNet

if TYPE_CHECKING:
    from timm.models.resnet import ResNet


@dataclass(frozen=True)
class NetworkSpec:
    """What a method needs to know to build its network.

    Attributes:
        backbone: its name.
        weights: that the backbone begins with: timm's by tag, or those of a safetensors file.
    """

    backbone: str
    classes: int
    channels: int = 3
    norm: Literal["batch", "group"] = "batch"
    weights: str | Path | None = None


def build_backbone(spec: NetworkSpec) -> tuple[nn.Module, int]:
    """Return a backbone (images [B, C, H, W] -> features [B, D]) and its feature width D.

    CIFAR ResNets are ours (resnet8, resnet20, resnet32 with three stages, 16 to 64 channels); every
    other name is timm's, without its classifier.

    Raises:
        ValueError: for a name that neither has, and for weights that do not fit.
    """
    if spec.backbone in CIFAR_RESNETS:
        if spec.weights is not None:
            raise ValueError(f"there are no weights for {spec.backbone}; timm has other networks")
        network = CifarResNet(CIFAR_RESNETS[spec.backbone], spec.channels, spec.norm)
        return network, network.width
    import timm

    import ltbench.networks.resnet10  # noqa: F401 - timm knows it from then on

    if not timm.is_model(spec.backbone):
        raise ValueError(f"no backbone {spec.backbone!r}: not a CIFAR ResNet and not in timm")
    if spec.norm != "batch":
        raise ValueError(
            f"norm {spec.norm!r} is for the CIFAR ResNets; {spec.backbone} is timm's own"
        )
    model = timm_model(spec)
    return model, int(model.num_features)


def timm_model(spec: NetworkSpec, **settings: Any) -> Any:
    """Return a model of timm's that ends in features, with its weights.

    Raises:
        ValueError: for weights that are not those of such a model.
    """
    import timm

    settings |= {"num_classes": 0, "in_chans": spec.channels}
    if isinstance(spec.weights, str):
        name = f"{spec.backbone}.{spec.weights}"
        return timm.create_model(name, pretrained=True, **settings)
    model = timm.create_model(spec.backbone, **settings)
    if spec.weights is not None:
        classifier = f"{model.pretrained_cfg.get('classifier') or 'fc'}."
        found = load_file(spec.weights)
        kept = {name: value for name, value in found.items() if not name.startswith(classifier)}
        try:
            model.load_state_dict(kept)
        except RuntimeError as error:
            raise ValueError(f"{spec.weights} is not of a {spec.backbone}: {error}") from None
    return model


def is_timm_resnet(backbone: nn.Module) -> "TypeGuard[ResNet]":
    """Return whether a backbone is one of timm's ResNets or ResNeXts."""
    from timm.models.resnet import ResNet

    return isinstance(backbone, ResNet)
