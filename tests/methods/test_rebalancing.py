"""Re-balancing methods against the authors' numbers, and what each promises by itself."""

import math
import re

import pytest
import torch
from torch import nn

from ltbench.classifiers import CosineClassifier
from ltbench.config.load import load_recipe
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import total_loss
from ltbench.losses import effective_number_weights, influence_balanced
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.networks import NetworkSpec
from ltbench.training.schedule import build_optimizer
from tests.losses.test_loss_oracles import EXACT
from tests.methods.test_method_oracles import build, check

COUNTS = torch.tensor([40, 12, 5, 1])
SPEC = NetworkSpec("resnet8", classes=4, channels=1, norm="group")


class ChosenRNG(GlobalBatchRNG):
    """Random numbers that a test chooses."""

    def __init__(self, drawn):
        self.drawn = drawn

    def uniform(self, samples, *shape):
        assert (len(samples), *shape) == self.drawn.shape
        return self.drawn


@pytest.mark.oracle("focal", variants=["softmax_g", "softmax_detached"])
def test_focal(oracle):
    detach = "detached" in oracle.hparams.get("note", "")
    check(build("focal", oracle, gamma=oracle.hparams["gamma"], detach=detach), oracle)


@pytest.mark.oracle("class_balanced", variants=["tf", "port_focal"])
def test_class_balanced(oracle):
    hparams = oracle.hparams
    form, gamma = hparams["loss_type"], hparams["gamma"]
    focusing = {"gamma": gamma} if form == "focal" else {}
    hparams = {"form": form, "beta": hparams["beta"], **focusing}
    method = build("class_balanced", oracle, **hparams)
    check(method, oracle)


@pytest.mark.oracle("vs_loss", has=["loss"])
def test_vs_loss(oracle):
    hparams = oracle.hparams
    check(build("vs_loss", oracle, gamma=hparams["gamma"], tau=hparams["tau"]), oracle)


@pytest.mark.oracle("cdt", has=["loss"])
def test_cdt(oracle):
    check(build("cdt", oracle, gamma=oracle.hparams["gamma"]), oracle)


class GivenNetwork(nn.Module):
    """A network of given features and logits."""

    def __init__(self, features, logits):
        super().__init__()
        self.given = features, logits

    def features(self, images):
        return self.given[0]

    def classifier(self, features):
        return self.given[1]


@pytest.mark.oracle("ib_loss", has=["loss"])
def test_ib_loss(oracle):
    hparams = oracle.hparams
    method = build("ib_loss", oracle, alpha=hparams["alpha"], gamma=hparams.get("gamma", 0.0))
    given = oracle["feat_l1"].requires_grad_(), oracle["logits"].requires_grad_()
    method.network = GivenNetwork(*given)
    method.progress = Progress(100, 200, deferred=False)
    loss = method.training_loss(Batch(given[1], oracle["labels"], oracle["labels"]))
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    expected = oracle["grad_features"], oracle["grad_logits"]
    torch.testing.assert_close(torch.autograd.grad(loss, given), expected, **EXACT)


@pytest.mark.parametrize(("start", "epochs", "first"), [(0.5, 200, 100), (0.5, 27, 14), (1, 9, 9)])
def test_ib_loss_balances_from_its_epoch_on_with_smaller_rates(start, epochs, first):
    method = METHODS["ib_loss"](SPEC, COUNTS, METHODS["ib_loss"].HParams(start=start))
    rates = []
    for epoch in range(epochs):
        method.progress = Progress(epoch, epochs, deferred=False)
        rates.append(method.lr_multiplier())
    assert rates == [1.0] * first + [0.01] * (epochs - first)


def test_ib_loss_is_cross_entropy_at_first():
    method = METHODS["ib_loss"](SPEC, COUNTS)
    batch = Batch(torch.randn(8, 1, 8, 8), torch.arange(8) % 4, torch.arange(8))
    expected = METHODS["softmax"].training_loss(method, batch)
    for epoch in (0, 1):
        method.progress = Progress(epoch, 2, deferred=False)
        assert method.training_loss(batch).equal(expected) == (epoch == 0)


def test_ib_loss_weighs_by_effective_numbers():
    kind = METHODS["ib_loss"]
    method = kind(SPEC, COUNTS, kind.HParams(weights="effective", start=0))
    logits, features, labels = torch.randn(8, 4), torch.randn(8, 6), torch.arange(8) % 4
    method.network = GivenNetwork(features, logits)
    loss = method.training_loss(Batch(logits, labels, labels))
    weights = effective_number_weights(COUNTS)
    assert loss.equal(influence_balanced(logits, labels, features, weights))


@pytest.mark.oracle("robal", has=["loss"])
def test_robal(oracle):
    names = {"m": "margin", "s": "scale", "tau_b": "tau_bias", "tau_m": "tau_margin"}
    hparams = {names[name]: value for name, value in oracle.hparams.items()}
    check(build("robal", oracle, **hparams), oracle)


@pytest.mark.oracle("robal", has=["weight"])
def test_robal_classifier_and_boundary(oracle):
    """The file has their values in the names of its arrays."""
    cosplus, postproc = sorted(name for name in oracle.own if "_logits_" in name)
    scale, gamma, tau = map(float, re.findall(r"[a-z](\d[\d.]*)", postproc))
    counts, kind = oracle["counts"], METHODS["robal"]
    hparams = kind.HParams(gamma=gamma, scale=scale, tau_posthoc=tau)
    method = kind(NetworkSpec("resnet8", classes=len(counts)), counts, hparams).double()
    method.network.classifier.weight.data = oracle["weight"]
    cosines = method.network.classifier(oracle["features"])
    torch.testing.assert_close(cosines, oracle[cosplus], **EXACT)
    logits = method.predict(oracle["features"])  # features pass the network as cached ones do
    difference = logits - oracle[postproc]  # ours are centered: one constant for all
    torch.testing.assert_close(difference, difference[0, 0].expand_as(difference), **EXACT)


@pytest.mark.oracle("seesaw", has=["loss"])
def test_seesaw(oracle):
    """Consecutive calls: each counts its images first."""
    method = build("seesaw", oracle, p=oracle.hparams["p"], q=oracle.hparams["q"])
    method.seen.copy_(oracle["cum_samples_init"])
    names = ("logits", "labels", "loss", "grad_logits", "cum_samples_after")
    for logits, labels, loss, gradient, seen in zip(*map(oracle.__getitem__, names), strict=True):
        call = {"logits": logits, "labels": labels, "loss": loss, "grad_logits": gradient}
        check(method, call)
        assert method.seen.equal(seen)


def test_seesaw_with_cosines_is_of_the_paper():
    kind = METHODS["seesaw"]
    classifier = kind(SPEC, COUNTS, kind.HParams(classifier="cosine")).network.classifier
    assert isinstance(classifier, CosineClassifier)
    assert classifier.scale == 20


@pytest.mark.oracle("softmax_eql", has=["loss"])
def test_equalization(oracle):
    gamma, share = oracle.hparams["gamma"], oracle.hparams["lambda_"]
    threshold = share * len(oracle["counts"])
    method = build("equalization", oracle, gamma=gamma, threshold=threshold)
    method.rng = ChosenRNG(oracle["rand_u"])
    check(method, oracle)


@pytest.mark.oracle("lade", variants=["total"])
def test_lade(oracle):
    hparams = oracle.hparams
    method = build("lade", oracle, penalty=hparams["remine_lambda"], alpha=hparams["alpha"])
    logits = oracle["logits"].requires_grad_()
    loss = total_loss(method.training_loss(Batch(logits, oracle["labels"], oracle["labels"])))
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["grad_logits"], **EXACT)


@pytest.mark.oracle("lade", has=["pc_lade_logits_first8"])
def test_lade_with_a_known_test_prior(oracle):
    expected, target = oracle["pc_lade_logits_first8"], oracle["pc_target_prior"]
    method = build("lade", oracle)
    logits = oracle["logits"][: len(expected)]
    torch.testing.assert_close(method.predict(logits, target), expected, **EXACT)
    assert method.predict(logits).equal(logits)


@pytest.mark.parametrize("form", ["softmax", "sigmoid", "focal"])
def test_one_vs_all_classifiers_begin_at_one_of_c(form):
    method = METHODS["class_balanced"](SPEC, COUNTS, METHODS["class_balanced"].HParams(form=form))
    expected = 0.0 if form == "softmax" else math.log((1 / 4) / (3 / 4))
    bias = method.network.classifier.bias
    torch.testing.assert_close(bias, torch.full_like(bias, expected))


@pytest.mark.parametrize("key", ["distribution_balanced", "eql_v2", "sigmoid_equalization"])
def test_sigmoid_methods_begin_at_one_of_c(key):
    bias = METHODS[key](SPEC, COUNTS).network.classifier.bias
    torch.testing.assert_close(bias.sigmoid(), torch.full_like(bias, 1 / 4))


def test_the_bias_of_one_vs_all_classifiers_is_without_weight_decay():
    recipe = load_recipe("cifar_200").stage1.optimizer
    kind = METHODS["class_balanced"]
    for decays in (True, False):
        method = kind(SPEC, COUNTS, kind.HParams(form="sigmoid", decay_bias=decays))
        groups = build_optimizer(recipe, method).param_groups
        found = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        bias = found.pop(id(method.network.classifier.bias))
        assert bias == (recipe.weight_decay if decays else 0)
        assert set(found.values()) == {recipe.weight_decay}


def test_equalization_draws_for_each_step():
    method = METHODS["equalization"](SPEC, COUNTS)
    method.rng = GlobalBatchRNG(make_generator(0, "method"))
    batch = Batch(torch.randn(32, 1, 8, 8), torch.zeros(32, dtype=torch.int64), torch.arange(32))
    losses = {method.training_loss(batch).item() for _ in range(4)}
    plain = METHODS["softmax"].training_loss(method, batch)
    assert len(losses) == 4
    assert max(losses) < plain


@pytest.mark.parametrize(
    ("key", "sampler"),
    [
        ("distribution_balanced", "class_aware"),
        ("oversampling", "oversampled"),
        ("undersampling", "undersampled"),
        ("square_root_sampling", "square_root"),
        ("progressively_balanced_sampling", "progressive"),
    ],
)
def test_resampling_methods_name_their_sampler(key, sampler):
    assert METHODS[key](SPEC, COUNTS).stage.samplers == (sampler,)


@pytest.mark.oracle("uno_ic", has=["posterior_uniform_target"])
def test_uno_ic(oracle):
    method, logits = build("uno_ic", oracle).double(), oracle["logits"]
    for name, target in (
        ("posterior_uniform_target", None),
        ("posterior_given_target", oracle["target_prior"]),
    ):
        for strength, expected in zip(oracle["hp_lambda_grid"].tolist(), oracle[name], strict=True):
            method.strength.fill_(strength)
            posterior = method.predict(logits, target).softmax(dim=1)
            torch.testing.assert_close(posterior, expected, **EXACT)


@pytest.mark.parametrize(("strength", "temperature"), [(0.0, 2.0), (0.7, 0.5), (1.3, 1.0)])
def test_uno_ic_finds_the_strength_and_temperature_that_fit(strength, temperature):
    """Posteriors of a balanced set, made over-confident in the prior by `strength`."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([1000, 100, 10])
    balanced = 2 * torch.randn(20000, 3, generator=generator).double()
    labels = torch.multinomial(balanced.softmax(dim=1), 1, generator=generator)[:, 0]
    logits = temperature * balanced + strength * (counts / counts.sum()).log()
    method = build("uno_ic", {"counts": counts}).double()
    index = torch.arange(len(labels))
    batches = (Batch(logits[i], labels[i], i) for i in index.split(7000))
    with torch.inference_mode():
        method.tune_on_validation(batches)
        predictions = method.predict(logits)
    assert float(method.strength) == pytest.approx(strength, abs=0.11)
    assert float(method.temperature) == pytest.approx(temperature, rel=0.1)
    assert (predictions.argmax(dim=1) == labels).double().mean() > 0.99 * (
        balanced.argmax(dim=1) == labels
    ).double().mean()
    assert {"strength", "temperature"} <= method.state_dict().keys()
