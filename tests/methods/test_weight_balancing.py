"""Weight balancing: weight decays of its own, and a bound on class weights in stage 2."""

import pytest
import torch
from torch import nn

from ltbench.config.load import load_recipe
from ltbench.config.recipe import Optimizer
from ltbench.core.batch import Batch
from ltbench.losses import cross_entropy, effective_number_weights, softmax_binary
from ltbench.methods import METHODS
from ltbench.networks import Network, NetworkSpec
from ltbench.training.schedule import build_optimizer
from tests.methods.test_method_oracles import EXACT

COUNTS = torch.tensor([40, 12, 5, 1])


def build(stage, counts=COUNTS, network=None, **hparams):
    """Return the method at the start of a stage."""
    kind = METHODS["weight_balancing"]
    method = kind(NetworkSpec("resnet8", len(counts)), counts, kind.HParams(**hparams))
    if network is not None:
        method.network = network
    method.stage = method.stage_of(stage)
    method.on_stage_start(method.stage)
    return method


def on_features(oracle):
    """Return a network whose features are the images."""
    classes, width = oracle["start_weight"].shape
    classifier = nn.Linear(width, classes).double()
    with torch.no_grad():
        classifier.weight.copy_(oracle["start_weight"])
        classifier.bias.copy_(oracle["start_bias"])
    return Network(nn.Identity(), classifier)


@pytest.mark.oracle("weight_balancing", variants=["stage2"])
def test_stage_2(oracle):
    """Three epochs of two batches at the authors' rates, the last of which is 0."""
    hparams = oracle.hparams
    method = build(
        "classifier",
        oracle["counts"],
        on_features(oracle),
        classifier_decay=hparams["wd"],
        beta=hparams["beta"],
        share=hparams["thresh"],
    )
    classifier = method.network.classifier
    torch.testing.assert_close(method.bound.double(), oracle["threshold"], rtol=1e-6, atol=0)
    settings = Optimizer(lr=hparams["lr"], momentum=hparams["momentum"], weight_decay=1e-9)
    optimizer = build_optimizer(settings, method)
    features, labels = oracle["features"], oracle["labels"]
    half, losses = len(labels) // 2, []
    method.bound = oracle["threshold"]  # in double precision
    for epoch, lr in enumerate(oracle["lr"].tolist()):
        for group in optimizer.param_groups:
            group["lr"] = lr
        for rows in (slice(half), slice(half, None)):
            loss = method.training_loss(Batch(features[rows], labels[rows], labels[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            with torch.no_grad():
                method.on_step_end()
        with torch.no_grad():
            method.on_epoch_end()
        weight, bias = classifier.weight.detach(), classifier.bias.detach()
        torch.testing.assert_close(weight, oracle["weight_after_epoch"][epoch], **EXACT)
        torch.testing.assert_close(bias, oracle["bias_after_epoch"][epoch], **EXACT)
    torch.testing.assert_close(torch.stack(losses), oracle["loss"], **EXACT)


@pytest.mark.parametrize("recipe", ["cifar_200", "cifar_fast", "digits"])
@pytest.mark.parametrize(("stage", "decay"), [("features", 5e-3), ("classifier", 0.1)])
def test_weight_decays_are_the_authors_under_any_recipe(stage, decay, recipe):
    settings = load_recipe(recipe).stage1.optimizer
    assert settings.weight_decay not in (decay, 0)
    groups = build_optimizer(settings, build(stage)).param_groups
    assert {group["weight_decay"] for group in groups} == {decay}


def test_rates_of_the_stages():
    """The authors train both from 0.01."""
    settings = load_recipe("cifar_200").stage2.optimizer
    rates = {}
    for stage in ("features", "classifier"):
        (group,) = build_optimizer(settings, build(stage)).param_groups
        rates[stage] = group["lr"]
    assert rates == pytest.approx({"features": 0.01, "classifier": 0.01})


def test_all_parameters_train_in_stage_1_and_the_classifier_in_stage_2():
    trained = {
        stage: [name for name, p in build(stage).named_parameters() if p.requires_grad]
        for stage in ("features", "classifier")
    }
    assert len(trained["features"]) == len(list(build("features").parameters()))
    assert trained["classifier"] == ["network.classifier.weight", "network.classifier.bias"]


@pytest.mark.parametrize("shift", [True, False])
def test_batchnorm_moves_in_stage_2_if_asked_for(shift):
    method = build("classifier", shift_bn=shift).train()
    assert any(module.training for module in method.network.backbone.modules()) == shift


def test_losses_of_the_stages():
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 4
    batch = Batch(images, labels, labels)
    for stage in ("features", "classifier"):
        method = build(stage).eval()
        logits = method.network(images)
        weights = effective_number_weights(COUNTS)
        expected = cross_entropy(logits, labels)
        if stage == "classifier":
            expected = softmax_binary(logits, labels, weights)
        assert method.training_loss(batch).equal(expected)


@pytest.mark.parametrize("project", ["epoch", "step"])
def test_the_bound_holds_after_epochs_or_steps_of_stage_2_alone(project):
    for stage in ("features", "classifier"):
        method = build(stage, project=project)
        for period in ("step", "epoch"):
            with torch.no_grad():
                method.class_weights.mul_(100)
                before = method.class_weights.clone()
                getattr(method, f"on_{period}_end")()
            moved = not method.class_weights.equal(before)
            assert moved == (stage == "classifier" and period == project)
            if moved:
                assert (method.class_weights.norm(dim=1) <= method.bound * (1 + 1e-6)).all()


def test_the_bound_is_that_of_stage_1_and_is_saved():
    method = build("classifier")
    bound = method.bound.clone()
    with torch.no_grad():
        method.class_weights.mul_(2)
        method.on_epoch_end()
    assert method.bound.equal(bound)
    restored = build("classifier")
    restored.load_state_dict(method.state_dict())
    assert restored.bound.equal(bound)
