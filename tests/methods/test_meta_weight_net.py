"""Meta-Weight-Net: one iteration of the authors, the meta gradient, and what it costs."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from ltbench.config.dataset import Auxiliary
from ltbench.config.recipe import Optimizer
from ltbench.core.batch import Batch
from ltbench.core.inner import virtual_step
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case, train
from ltbench.training.schedule import build_optimizer
from tests.losses.test_loss_oracles import EXACT

CASE = Case("meta_weight_net")
BY_NAME = {"v1": "0.weight", "vb1": "0.bias", "v2": "2.weight", "vb2": "2.bias"}
MODEL = {"w1": "0.weight", "b1": "0.bias", "w2": "2.weight", "b2": "2.bias"}


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.oracle("meta_weight_net", has=["train_x"], level="case")
def test_one_iteration(oracle):
    """Both cases: the virtual, the meta and the real step; images are vectors."""
    values, out = oracle.hparams, partial("{}/out/{}".format, oracle.id)
    classes, width = len(oracle["model_b2"]), len(oracle["vnet_vb1"])
    kind = METHODS["meta_weight_net"]
    decay = values["vnet_weight_decay"]
    hparams = kind.HParams(form="noise", width=width, lr=values["vnet_lr"], weight_decay=decay)
    method = kind(NetworkSpec("resnet8", classes), torch.ones(classes, dtype=torch.int64), hparams)
    hidden, inputs = oracle["model_w1"].shape
    method.network = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    method.double().progress = Progress(0, 200, deferred=False, lr=values["lr"])
    method.network.load_state_dict({v: oracle[f"model_{k}"].double() for k, v in MODEL.items()})
    weighting = method.weighting.module
    weighting.load_state_dict({v: oracle[f"vnet_{k}"].double() for k, v in BY_NAME.items()})
    training, meta = (
        Batch(oracle[f"{name}_x"].double(), oracle[f"{name}_y"], oracle[f"{name}_y"])
        for name in ("train", "meta")
    )
    close(method.weights(oracle["vnet_forward_in"], {}), oracle["vnet_forward_out"])
    losses = cross_entropies(method.network(training.images), training.labels)
    close(losses.detach(), oracle[out("per_sample_ce")])
    close(method.weights(losses.detach(), {}), oracle[out("v_lambda")])
    before = copy.deepcopy(method)
    close(before.learn_weights(training, meta).detach(), oracle[out("meta_loss")])

    optimizer = torch.optim.SGD(
        method.network.parameters(),
        values["lr"],
        momentum=values["momentum"],
        weight_decay=values["weight_decay"],
    )
    loss = method.training_loss({"instance": training, "auxiliary": meta})
    loss.backward()
    optimizer.step()
    close(method.weights(losses.detach(), {}), oracle[out("w_new")])
    close(loss.detach(), (losses * oracle[out("w_new")]).mean().detach())
    for number, (short, name) in enumerate(BY_NAME.items()):
        decayed = decay * oracle[f"vnet_{short}"].double()
        mean = method.weighting.get_buffer(f"mean{number}")
        close(mean / 0.1 - decayed, oracle[out(f"vnet_grad_{short}")])
        close(weighting.state_dict()[name], oracle[out(f"vnet_{short}")])
    for short, name in MODEL.items():
        close(method.network.state_dict()[name], oracle[out(f"model_{short}")])


@pytest.mark.parametrize("form", ["imbalance", "noise"])
@pytest.mark.parametrize(("norm", "backbone_lr"), [("batch", 1.0), ("group", 1.0), ("group", 0.02)])
def test_the_meta_gradient_is_that_of_finite_differences(norm, backbone_lr, form):
    """Through the whole method: a change of the weighting network, then steps of SGD."""
    method = steps.begin(replace(CASE, hparams={"form": form}), norm=norm).double()
    steps.begin_epoch(method)
    method.progress = replace(method.progress, backbone_lr=backbone_lr)
    training = steps.training_batch(method)
    meta = Batch(training.images.flip(0), training.labels.flip(0), training.index)
    name, step = "2.weight", 1e-5

    def after_a_real_step(shift):
        other = copy.deepcopy(method)
        dict(other.weighting.module.named_parameters())[name][0, :50] += shift
        settings = Optimizer(lr=method.progress.lr, backbone_lr=backbone_lr, momentum=0.0)
        optimizer = build_optimizer(settings, other)
        losses = F.cross_entropy(other.network(training.images), training.labels, reduction="none")
        if form == "noise":
            (losses * other.weights(losses.detach(), {})).mean().backward()
        else:
            weights = other.weights(losses, {})
            (losses * weights / weights.sum()).sum().backward()
        optimizer.step()
        return float(F.cross_entropy(other.network(meta.images), meta.labels).detach())

    expected = (after_a_real_step(step) - after_a_real_step(-step)) / (2 * step)
    moved = copy.deepcopy(method)
    loss = float(moved.learn_weights(training, meta).detach())
    assert loss == pytest.approx(after_a_real_step(0.0), rel=1e-12)
    decay = method.hparams.weight_decay * dict(method.weighting.module.named_parameters())[name]
    gradient = moved.weighting.get_buffer("mean2") / (0.1 if form == "noise" else 1) - decay
    assert float(gradient[0, :50].sum()) == pytest.approx(expected, rel=1e-5)


def test_one_iteration_for_class_imbalance():
    """Weights are divided by their sum; the weighting network moves by SGD."""
    method = steps.begin(CASE).double()
    steps.begin_epoch(method)
    training, meta = steps.training_batch(method), steps.training_batch(method)
    theirs = copy.deepcopy(method)
    weighting = theirs.weighting.module.requires_grad_()
    optimizer = torch.optim.SGD(
        weighting.parameters(), 1e-5, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    for _ in range(3):
        loss = method.training_loss({"instance": training, "auxiliary": meta})
        losses = cross_entropies(theirs.network(training.images), training.labels)
        weights = weighting(losses[:, None])[:, 0]
        parameters = dict(theirs.network.named_parameters())
        moved = virtual_step((weights / weights.sum() * losses).sum(), parameters, 0.1)
        logits = functional_call(theirs.network, moved, (meta.images,))
        optimizer.zero_grad()
        gradients = torch.autograd.grad(
            F.cross_entropy(logits, meta.labels), list(weighting.parameters())
        )
        for value, gradient in zip(weighting.parameters(), gradients, strict=True):
            value.grad = gradient
        optimizer.step()
        weights = weighting(losses.detach()[:, None])[:, 0].detach()
        close(loss, (weights / weights.sum() * losses).sum())
        for ours, other in zip(
            method.weighting.module.parameters(), weighting.parameters(), strict=True
        ):
            close(ours, other.detach())


def test_the_virtual_network_leaves_no_trace():
    method = steps.begin(CASE, norm="batch")
    steps.begin_epoch(method)
    before = {name: value.clone() for name, value in method.network.state_dict().items()}
    batch = steps.training_batch(method)
    method.learn_weights(batch, batch)
    assert all(value.equal(before[name]) for name, value in method.network.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


def test_weights_are_single_precision_under_autocast():
    method = steps.begin(CASE)
    losses = torch.rand(5)
    with torch.autocast("cpu", torch.bfloat16):
        assert method.weights(losses, {}).equal(steps.begin(CASE).weights(losses, {}))


def test_it_is_never_compiled(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("compiled")

    monkeypatch.setattr("ltbench.training.module.compile_backbone", refuse)
    (job,) = CASE.jobs(epochs=1, compile="on")
    assert job.dataset.auxiliary == Auxiliary(source="unused_pool", per_class=5)
    train(job, tmp_path)
    (plain,) = Case("softmax").jobs(epochs=1, compile="on")
    with pytest.raises(AssertionError, match="compiled"):
        train(plain, tmp_path)
