"""Backbones: the CIFAR ResNets, and everything else by its timm name."""

from ltbench.networks.build import NetworkSpec, build_backbone
from ltbench.networks.network import Network
from ltbench.networks.resnet10 import resnet10

__all__ = ["Network", "NetworkSpec", "build_backbone", "resnet10"]
