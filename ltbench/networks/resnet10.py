"""ResNet-10 of the long-tailed ImageNet tables, registered as a timm model.

Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019 (arXiv:1904.05160):
ResNet-18 with one basic block in each of its four stages.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet

default_cfgs = generate_default_cfgs({"resnet10": {"first_conv": "conv1", "classifier": "fc"}})


def resnet10(*, pretrained: bool = False, **settings: Any) -> ResNet:
    """Return a ResNet-10, with the settings of timm's ResNets.

    There are no pretrained weights.
    """
    model: ResNet = build_model_with_cfg(
        ResNet, "resnet10", pretrained, block=BasicBlock, layers=(1, 1, 1, 1), **settings
    )
    return model


register_model(resnet10)
