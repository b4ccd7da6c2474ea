"""Networks: CIFAR ResNets and FastNets, and all other backbones from timm."""

from ltbench.networks.build import NetworkSpec, build_backbone
from ltbench.networks.network import Network

__all__ = ["Network", "NetworkSpec", "build_backbone"]
