"""MetaSAug: the authors' losses, meta step and covariances."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ltbench.config.recipe import Optimizer
from ltbench.core.batch import Batch
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.networks import Network, NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case
from ltbench.training.schedule import build_optimizer
from tests.losses.test_loss_oracles import EXACT

CASE = Case("metasaug")


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, **EXACT)


def build(oracle, loss):
    """Return a method in the epoch of a case, whose images are features."""
    kind, values = METHODS["metasaug"], oracle.hparams
    hparams = kind.HParams(loss=loss, strength=values["lam"], meta_lr=values.get("meta_lr", 0.1))
    counts = oracle["counts"].long()
    method = kind(NetworkSpec("resnet8", len(counts)), counts, hparams).double()
    epoch, epochs = values["epoch_0based"], values["epochs"]
    method.progress = Progress(epoch, epochs, deferred=True, lr=values.get("lr", 0.1))
    assert method.progress.fraction * values["lam"] == pytest.approx(float(oracle["ratio"]))
    return method


@pytest.mark.oracle("metasaug", has=["loss_ldam_branch"])
def test_the_loss_with_margins(oracle):
    """Both cases, full covariances."""
    method = build(oracle, "ldam")
    features = oracle["feats"].requires_grad_()
    weight = oracle["fc_weight"].requires_grad_()
    covariances = oracle["cov_after_batch"][-1].clone().requires_grad_()
    logits = features @ weight.T  # the file's may have a bias
    logits = logits + (oracle["logits"] - logits).detach()
    loss = method.augmented_loss(logits, oracle["labels"].long(), weight, covariances)
    close(loss.detach(), oracle["loss_ldam_branch"])
    names = ("grad_feats_ldam", "grad_W_ldam", "grad_cov_ldam")
    gradients = torch.autograd.grad(loss, (features, weight, covariances))
    for name, gradient in zip(names, gradients, strict=True):
        close(gradient, oracle[name])


@pytest.mark.oracle("metasaug", has=["ce_new_cov"])
def test_a_step_of_the_classifier(oracle):
    """Both cases, without margins: meta step, real step, and the variances after it."""
    method = build(oracle, "softmax")
    classes, width = oracle["ce_fc_weight"].shape
    method.network = Network(nn.Identity(), nn.Linear(width, classes)).double()
    state = {"weight": oracle["ce_fc_weight"], "bias": oracle["ce_fc_bias"]}
    method.network.classifier.load_state_dict(state)
    method.moments = type(method.moments)(classes, width)
    method.moments.load_state_dict(
        {
            "seen": oracle["count_after"].long(),
            "mean": oracle["mean_after"],
            "variance": oracle["diag_cov_before"],
        }
    )
    training = Batch(oracle["feats"], oracle["labels"].long(), None)
    meta = Batch(oracle["ce_meta_val_feats"], oracle["ce_meta_val_labels"].long(), None)
    weight = method.network.classifier.weight
    before = method.augmented_loss(
        method.network(training.images), training.labels, weight, method.moments.variance
    )
    close(before.detach(), oracle["ce_loss_meta_train"])
    variances = method.learn_variances(training, meta)
    close(variances, oracle["ce_new_cov"])
    close((method.moments.variance - variances) / oracle.hparams["meta_lr"], oracle["ce_grad_cov"])
    close(method.moments.variance, oracle["diag_cov_before"])  # which are kept

    loss = method.training_loss({"instance": training, "auxiliary": meta})
    close(loss.detach(), oracle["ce_loss_final"])
    loss.backward()
    close(weight.grad, oracle["ce_grad_fc_weight"])
    close(method.network.classifier.bias.grad, oracle["ce_grad_fc_bias"])
    close(method.moments.variance, oracle["diag_cov_after_update"])


def late(**hparams):
    """Return a method in the last of two epochs, with covariances."""
    method = steps.begin(Case("metasaug", hparams)).double()
    steps.begin_epoch(method, 1)
    for seed in range(3):
        batch = steps.evaluation_batch(method, seed)
        with torch.no_grad():
            method.moments.update(method.network.features(batch.images), batch.labels)
    return method


@pytest.mark.parametrize(("loss", "backbone_lr"), [("ldam", 1.0), ("softmax", 1.0), ("ldam", 0.02)])
def test_the_meta_gradient_is_that_of_finite_differences(loss, backbone_lr):
    method, step = late(loss=loss, strength=1.0, meta_lr=1.0), 1e-4
    method.progress = replace(method.progress, backbone_lr=backbone_lr)
    training = steps.training_batch(method)
    meta = Batch(training.images.flip(0), training.labels.flip(0), training.index)
    direction = torch.eye(method.moments.variance.shape[-1], dtype=torch.float64)

    def after_a_real_step(shift):
        other = copy.deepcopy(method)
        variances = method.moments.variance + shift * direction
        weight = other.network.classifier.weight
        logits = other.network(training.images)
        settings = Optimizer(lr=method.progress.lr, backbone_lr=backbone_lr, momentum=0.0)
        optimizer = build_optimizer(settings, other)
        other.augmented_loss(logits, training.labels, weight, variances).backward()
        optimizer.step()
        return float(nn.functional.cross_entropy(other.network(meta.images), meta.labels).detach())

    expected = (after_a_real_step(step) - after_a_real_step(-step)) / (2 * step)
    gradient = method.moments.variance - method.learn_variances(training, meta)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-4)


def test_before_the_deferred_epoch_it_is_cross_entropy():
    method, softmax = steps.begin(CASE), steps.begin(Case("softmax"))
    softmax.network.load_state_dict(method.network.state_dict())
    batch = steps.training_batch(method)
    assert steps.loss_of(method, batch).equal(steps.loss_of(softmax, batch))
    assert int(method.moments.seen.sum()) == 0
    assert not steps.loss_of(method, batch, epoch=1).equal(steps.loss_of(softmax, batch, epoch=1))
    assert int(method.moments.seen.sum()) == len(batch)


def test_the_virtual_network_leaves_no_trace():
    method = late()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    batch = steps.training_batch(method)
    method.learn_variances(batch, batch)
    assert all(value.equal(before[name]) for name, value in method.state_dict().items())


def test_wide_features_have_variances_alone():
    counts = torch.tensor([5, 5])
    narrow, wide = (
        METHODS["metasaug"](NetworkSpec(network, 2), counts).moments.variance.shape
        for network in ("resnet8", "fastnet_wide")
    )
    assert (len(narrow), len(wide)) == (3, 2)
