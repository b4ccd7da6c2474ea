"""Learning rates that authors chose by dataset: rules and recipes add up to them."""

import pytest
import torch

from ltbench.config.hparams import HParamResolver
from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.registry import load_registry
from ltbench.methods import METHODS
from ltbench.networks import NetworkSpec
from ltbench.training.schedule import build_optimizer

COUNTS = torch.tensor([40, 12, 5, 1])


def configured(key, dataset, backbone="resnet8"):
    """Return a method in its last stage, configured for a dataset."""
    hparams = HParamResolver(load_registry()).resolve(key, {}, load_dataset(dataset)).values
    method = METHODS[key](NetworkSpec(backbone, 4), COUNTS, METHODS[key].HParams(**hparams))
    method.stage = method.stages[-1]
    method.on_stage_start(method.stage)
    return method


@pytest.mark.parametrize(
    ("key", "dataset", "recipe", "rates"),
    [
        ("sade", "cifar10", "cifar_200", {"backbone": 0.05, "classifier": 0.05}),
        ("sade", "cifar100", "cifar_200", {"backbone": 0.1, "classifier": 0.1}),
        ("sade", "places_lt", "places_lt_30", {"backbone": 0.001, "classifier": 0.01}),
        ("oltr", "places_lt", "places_lt_30", {"attention": 1e-4, "classifier": 0.01}),
        ("oltr", "imagenet_lt", "imagenet_lt_90", {"backbone": 0.01, "classifier.cosine": 0.1}),
        ("ssp", "imagenet_lt", "imagenet_lt_90", {"backbone": 0.03, "head": 0.03}),
        ("paco", "places_lt", "places_lt_30", {"backbone": 0.001, "classifier": 0.05}),
    ],
)
def test_rates(key, dataset, recipe, rates):
    method = configured(key, dataset, "resnet10t" if "lt" in dataset else "resnet8")
    optimizer = build_optimizer(load_recipe(recipe).stage1.optimizer, method)
    found = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for part, rate in rates.items():
        own = [found[p] for name, p in method.named_parameters() if f"network.{part}." in name]
        assert own == pytest.approx([rate] * len(own))
        assert own


def test_rates_of_a_whole_method():
    assert METHODS["paco"](
        NetworkSpec("resnet8", 4), COUNTS, METHODS["paco"].HParams(lr=0.5)
    ).lr_scale("network.classifier.weight") == pytest.approx(0.5)


def test_sade_has_experts_of_full_width_on_cifar10_and_places():
    datasets = ("cifar10", "cifar10_jpeg", "places_lt", "cifar100")
    reduced = [configured("sade", name, "resnet8").hparams.reduced for name in datasets]
    assert reduced == [False, False, False, True]


def test_oltr_fixes_the_weights_of_its_backbone_on_places_and_updates_batchnorm():
    method = configured("oltr", "places_lt")
    backbone = method.network.backbone
    assert not any(p.requires_grad for p in backbone.parameters())
    before = backbone.norm1.running_mean.clone()
    method.train().network(torch.randn(4, 3, 32, 32))
    assert not backbone.norm1.running_mean.equal(before)
