"""SHIKE's networks: their shared stages and the maps that experts take."""

import pytest
import torch
from torch import nn

from ltbench.networks import NetworkSpec
from ltbench.networks.multi_expert import ExpertBackbone
from ltbench.networks.shallow_experts import ShallowExperts, build_shallow_experts

SIZES = {"resnet8": 16, "fastnet": 32, "test_resnet": 32, "test_convnext": 32}


def test_experts_share_all_but_the_last_stage():
    network = build_shallow_experts(NetworkSpec("resnet32", 100), 3)
    assert isinstance(network, ShallowExperts)
    assert len(network.stages) == 2
    first, second, third = network.experts
    pairs = zip(first.parameters(), second.parameters(), third.parameters(), strict=True)
    assert all(a is not b and b is not c for a, b, c in pairs)


def test_expert_i_multiplies_by_the_maps_of_stage_i():
    network = build_shallow_experts(NetworkSpec("resnet8", 4), 3).double().eval()
    images = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    first = network.stages[0](images)
    second = network.stages[1](first)
    features = network(images)
    for i, shallow in enumerate((first, second, first)):
        product = network.experts[i](second) * network.projections[i](shallow)
        torch.testing.assert_close(features[i], product.mean(dim=(2, 3)))


def test_the_second_convolution_of_a_projection_has_no_relu():
    one, two, _ = build_shallow_experts(NetworkSpec("resnet8", 4), 3).projections
    kinds = [[type(layer) for layer in projection] for projection in (one, two)]
    convolution = [nn.Conv2d, nn.BatchNorm2d]
    assert kinds == [[*convolution, nn.ReLU, *convolution], [*convolution, nn.ReLU]]


@pytest.mark.parametrize("backbone", SIZES)
def test_features_have_the_width_of_the_backbone(backbone):
    network = build_shallow_experts(NetworkSpec(backbone, 4), 4)
    assert isinstance(network, ShallowExperts)
    size = SIZES[backbone]
    features = network(torch.randn(2, 3, size, size))
    assert features.shape == (4, 2, network.width)
    features.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_backbone_without_stages_is_shared():
    network = build_shallow_experts(NetworkSpec("test_vit", 4), 3)
    assert isinstance(network, ExpertBackbone)
