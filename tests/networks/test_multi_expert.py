"""Networks of experts: the authors' sizes, what is shared, and every kind of backbone."""

import re

import pytest
import torch
from torch import nn

from ltbench.classifiers import CosineClassifier
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.expert_router import ExpertRouter
from ltbench.networks.multi_expert import (
    build_branches,
    build_cosine_experts,
    build_experts,
    build_parts,
)
from ltbench.networks.parts import has_maps, parts_of
from ltbench.networks.residual_branches import build_residual_branches

KINDS = ["resnet8", "fastnet", "test_resnet", "test_convnext", "test_vit"]
"""A CIFAR ResNet, a ResNet of timm's, one cut by stages, one shared as a whole."""


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def spec(backbone, classes=5):
    return NetworkSpec(backbone, classes=classes)


def images(backbone):
    size = 160 if backbone == "test_vit" else 32
    return torch.randn(2, 3, size, size)


@pytest.mark.oracle("ride", has=["nparams_resnet32_reduce_cosine_experts3"])
def test_ride_has_the_authors_parameters(oracle):
    pattern = re.compile(r"nparams_(\w+?)_reduce_cosine_experts(\d)(?:_c(\d+))?$")
    matches = [*filter(None, map(pattern.match, oracle.own))]
    assert matches
    for match in matches:
        backbone, experts, classes = match[1], int(match[2]), int(match[3] or 100)
        with torch.device("meta"):
            network = build_cosine_experts(spec(backbone, classes), experts, reduced=True)
        assert parameters(network) == int(oracle[match[0]]), match[0]


@pytest.mark.oracle("bbn_branches", level="case")
def test_bbn_has_the_authors_parameters(oracle):
    pattern = re.compile(r"nparams_(bbn|plain)_(\w+?)_backbone$")
    matches = [*filter(None, map(pattern.match, oracle.own))]
    assert matches
    for match in matches:
        with torch.device("meta"):
            branches = build_branches(spec(match[2]), 2 if match[1] == "bbn" else 1)
        assert parameters(branches) == int(oracle[match[0]]), match[0]


@pytest.mark.oracle("reslt", has=["nparams_reslt_resnet32_c100"])
def test_reslt_has_the_authors_parameters(oracle):
    network = build_residual_branches(spec("resnet32", 100), 3)
    assert parameters(network) == int(oracle["nparams_reslt_resnet32_c100"])


@pytest.mark.oracle("reslt", has=["head_featmaps"])
def test_reslt_branches_normalise_the_last_maps(oracle):
    weight = oracle["head_fc_W"]
    network = build_residual_branches(spec("resnet8", len(weight)), 3).double()
    network.backbone.shared = nn.Identity()
    for k, branch in enumerate(network.backbone.experts):
        branch[0].weight.data, branch[0].bias.data = (
            oracle["head_bn_weight"][k],
            oracle["head_bn_bias"][k],
        )
    network.classifier.weight.data, network.classifier.bias.data = weight, oracle["head_fc_b"]
    logits = network(oracle["head_featmaps"])
    torch.testing.assert_close(logits, oracle["head_logits_H_M_T_trainmode"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backbone", KINDS)
@pytest.mark.parametrize(
    "build",
    [
        lambda spec: build_experts(spec, 3, reduced=True),
        lambda spec: build_branches(spec, 3),
        lambda spec: build_residual_branches(spec, 3).backbone,
    ],
    ids=["experts", "branches", "residual"],
)
def test_features_of_every_kind(build, backbone):
    network = build(spec(backbone)).eval()
    x = images(backbone)
    features = network(x)
    if features.dim() == 2:  # branches stand side by side
        features = torch.stack(features.chunk(3, dim=1))
    assert features.shape == (3, 2, network.width)
    assert features.isfinite().all()
    for expert in range(3):
        torch.testing.assert_close(network.features_of(expert, x), features[expert])
    network(x).square().sum().backward()
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not idle
    storages = [p.data_ptr() for p in network.parameters()]
    assert len(set(storages)) == len(storages)
    assert len(network.state_dict()) == len({v.data_ptr() for v in network.state_dict().values()})


@pytest.mark.parametrize("backbone", KINDS)
def test_the_parts_in_turn_are_the_backbone(backbone):
    torch.manual_seed(0)
    whole, width = build_backbone(spec(backbone))
    torch.manual_seed(0)
    parts = build_parts(spec(backbone))
    head, tail = parts.split(1)
    x = images(backbone)
    assert parts.width == width
    torch.testing.assert_close(tail.eval()(head.eval()(x)), whole.eval()(x))
    own = parts_of(whole)
    torch.testing.assert_close(own.pool(own.maps(x)), whole(x))


@pytest.mark.parametrize("backbone", KINDS)
def test_features_are_pooled_maps_where_it_says_so(backbone):
    module, width = build_backbone(spec(backbone))
    assert has_maps(module) == (backbone in {"resnet8", "fastnet", "test_resnet"})
    if has_maps(module):
        assert parts_of(module.eval()).maps(images(backbone)).shape[1] == width


@pytest.mark.parametrize("backbone", KINDS)
def test_all_below_the_last_block_can_be_frozen(backbone):
    module, _ = build_backbone(spec(backbone))
    parts = parts_of(module)
    for part in parts.below(1):
        part.requires_grad_(False)
    blocks = [block for stage in parts.stages for block in stage]
    trained = {id(p) for p in module.parameters() if p.requires_grad}
    last = {id(p) for part in [*blocks[-1:], parts.pool] for p in part.parameters()}
    assert trained == last
    assert bool(trained) == bool(blocks)


@pytest.mark.parametrize("backbone", ["resnet8", "fastnet", "test_resnet", "test_convnext"])
def test_experts_differ_in_their_own_stages_only(backbone):
    network = build_experts(spec(backbone), 2, reduced=False).eval()
    first, second = network(images(backbone))
    assert not torch.allclose(first, second)
    network.experts[1].load_state_dict(network.experts[0].state_dict())
    first, second = network(images(backbone))
    assert first.equal(second)


@pytest.mark.parametrize(("reduced", "width"), [(True, 48), (False, 64)])
def test_reduced_experts_are_narrower(reduced, width):
    network = build_experts(spec("resnet20"), 2, reduced=reduced)
    assert network.width == width
    maps = network.shared(torch.randn(1, 3, 32, 32))
    assert maps.shape == (1, 16, 32, 32)  # the stem and the first stage are shared at full width


def test_one_full_expert_is_the_plain_network():
    whole, _ = build_backbone(spec("resnet20"))
    for own in (
        build_experts(spec("resnet20"), 1, reduced=False),
        build_branches(spec("resnet20"), 1),
    ):
        assert parameters(own) == parameters(whole)


def test_each_expert_has_its_own_cosine_classifier():
    network = build_cosine_experts(spec("resnet8"), 2, reduced=True)
    assert all(isinstance(each, CosineClassifier) for each in network.classifier)
    cosines = network(torch.randn(4, 3, 8, 8))
    assert cosines.shape == (2, 4, 5)
    assert cosines.abs().max() <= 1 + 1e-6


@pytest.mark.oracle("ride", has=["ea_router_logits"])
def test_router(oracle):
    maps = oracle["ea_featmaps"]  # [E, B, D, H, W]
    router = ExpertRouter(maps.shape[2], len(maps), oracle.hparams["ea_topk"]).double()
    for i, project in enumerate(router.hidden):
        project.weight.data, project.bias.data = oracle["ea_hidden_W"][i], oracle["ea_hidden_b"][i]
    router.output.weight.data, router.output.bias.data = oracle["ea_out_W"], oracle["ea_out_b"]
    routes = router(maps.mean(dim=(3, 4)), oracle["ea_expert_logits"])
    torch.testing.assert_close(routes, oracle["ea_router_logits"], rtol=1e-6, atol=1e-9)


def test_resnet10_is_a_timm_model():
    backbone, width = build_backbone(NetworkSpec("resnet10", classes=5, channels=1))
    assert width == 512
    assert backbone(torch.randn(2, 1, 32, 32)).shape == (2, 512)
