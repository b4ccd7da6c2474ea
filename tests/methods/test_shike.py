"""SHIKE: both stages against the authors' numbers, its size and its classifiers."""

import pytest
import torch

from ltbench.core.stepping import total_loss
from ltbench.losses import cross_entropy
from ltbench.methods.ensembles.shike import SHIKE, SHIKEHParams
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case

EXACT = {"rtol": 1e-8, "atol": 1e-12}
SINGLE = {"rtol": 1e-5, "atol": 1e-7}  # large gradients are stored in float32
SHORTCUTS = 16 * 32 + 2 * 32 + 3 * (32 * 64 + 2 * 64)
"""Parameters of the authors' shortcuts, convolutions with BatchNorm; ours have none."""


@pytest.mark.oracle("shike")
@pytest.mark.parametrize("number", [1, 2])
def test_the_loss_of_a_stage_and_its_gradient(oracle, number):
    logits = oracle["expert_logits"].requires_grad_()
    method = SHIKE(NetworkSpec("resnet8", logits.shape[2]), oracle["counts"])
    method.stage = method.stages[number - 1]
    loss = total_loss(method.double().expert_losses(logits, oracle["labels"].long()))
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss.detach(), oracle[f"stage{number}_loss"], **EXACT)
    name = f"stage{number}_grad"
    exact = SINGLE if oracle.own[name].dtype == "float32" else EXACT
    torch.testing.assert_close(gradient, oracle[name], **exact)


@pytest.mark.oracle("shike", has=["avg_logits"])
def test_predictions_are_the_mean_of_the_experts(oracle):
    logits = oracle["expert_logits"]
    method = SHIKE(NetworkSpec("resnet8", logits.shape[2]), oracle["counts"])
    method.network = torch.nn.Identity()
    torch.testing.assert_close(method.predict(logits), oracle["avg_logits"], **EXACT)


@pytest.mark.oracle("shike", has=["nparams_shike_resnet32_3experts_cosine_c100"])
def test_parameters_are_theirs_without_shortcuts_and_second_classifiers(oracle):
    method = SHIKE(NetworkSpec("resnet32", 100), torch.ones(100, dtype=torch.int64))
    own = sum(p.numel() for p in method.parameters())
    theirs = int(oracle["nparams_shike_resnet32_3experts_cosine_c100"])
    assert own == theirs - SHORTCUTS - 3 * 64 * 100


def test_equal_counts_leave_plain_cross_entropy_in_the_second_stage():
    counts = torch.full((4,), 9)
    method = SHIKE(NetworkSpec("resnet8", 4), counts, SHIKEHParams(experts=1))
    method.stage = method.stages[1]
    logits, labels = torch.randn(1, 6, 4), torch.tensor([0, 1, 1, 2, 3, 3])
    assert method.expert_losses(logits, labels).equal(cross_entropy(logits[0], labels))


def test_weights_of_the_divergences():
    logits, labels = torch.randn(3, 8, 4).double(), torch.arange(8) % 4
    plain = steps.begin(Case("shike")).expert_losses(logits, labels)
    other = {"hardest": 0.0, "distillation": 3.0}
    changed = steps.begin(Case("shike", other)).expert_losses(logits, labels)
    assert changed["classes"].equal(plain["classes"])
    assert changed["hardest"] == 0
    torch.testing.assert_close(changed["distillation"], 3 * plain["distillation"])


def test_the_second_stage_trains_new_classifiers_alone():
    first = steps.begin(Case("shike"))
    method = steps.begin(Case("shike"), 1, weights=first.state_dict())
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert trained == {f"network.classifier.{i}.weight" for i in range(3)}
    before, after = first.state_dict(), method.state_dict()
    for name, value in before.items():
        assert after[name].equal(value) == (name not in trained)
    assert not any(part.training for part in method.train().network.backbone.modules())


def test_cached_features_have_the_same_logits():
    method = steps.begin(Case("shike"), 1).eval()
    images = steps.evaluation_batch(method).images
    with torch.no_grad():
        features = method.network.features(images)  # [E, B, D]
        cached = method.network(features.movedim(0, 1))
    torch.testing.assert_close(cached, method.network(images))
