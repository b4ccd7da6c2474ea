"""Backbones: the CIFAR ResNets, and everything else by its timm name."""

from ltbench.networks.build import NetworkSpec, build_backbone
from ltbench.networks.network import Network

__all__ = ["Network", "NetworkSpec", "build_backbone"]
