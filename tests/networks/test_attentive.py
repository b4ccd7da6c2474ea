"""A network with attention begins as the network that it is built on."""

import pytest
import torch
from torch import nn

from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.attentive import AttentiveNetwork


@pytest.mark.parametrize("backbone", ["resnet8", "fastnet"])
def test_features_are_pooled_as_those_of_the_backbone(backbone):
    torch.manual_seed(0)
    body, width = build_backbone(NetworkSpec(backbone, classes=3))
    network = AttentiveNetwork(body, nn.Linear(width, 3), nn.Identity).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network.features(images), body(images), rtol=0, atol=0)
