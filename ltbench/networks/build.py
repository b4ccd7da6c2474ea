"""From a backbone's name to a module that ends in features."""

from dataclasses import dataclass
from typing import Literal

import timm
from torch import nn

from ltbench.networks.resnet_cifar import CIFAR_RESNETS, CifarResNet


@dataclass(frozen=True)
class NetworkSpec:
    """What a method needs to know to build its network."""

    backbone: str
    classes: int
    channels: int = 3
    norm: Literal["batch", "group"] = "batch"


def build_backbone(spec: NetworkSpec) -> tuple[nn.Module, int]:
    """Return a backbone (images [B, C, H, W] -> features [B, D]) and its feature width D.

    CIFAR ResNets are ours (resnet8, resnet20, resnet32 with three stages, 16 to 64 channels); every
    other name is timm's, without its classifier.

    Raises:
        ValueError: for a name that neither has.
    """
    if spec.backbone in CIFAR_RESNETS:
        network = CifarResNet(CIFAR_RESNETS[spec.backbone], spec.channels, spec.norm)
        return network, network.width
    if not timm.is_model(spec.backbone):
        raise ValueError(f"no backbone {spec.backbone!r}: not a CIFAR ResNet and not in timm")
    if spec.norm != "batch":
        raise ValueError(
            f"norm {spec.norm!r} is for the CIFAR ResNets; {spec.backbone} is timm's own"
        )
    model = timm.create_model(spec.backbone, num_classes=0, in_chans=spec.channels)
    return model, int(model.num_features)
