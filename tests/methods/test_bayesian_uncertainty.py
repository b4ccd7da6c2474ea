"""Margins by uncertainty, our reading: angles, deviations, and the measurement of both."""

import math

import pytest
import torch

from ltbench.analysis.published import REFERENCE
from ltbench.config.yaml_file import read_yaml
from ltbench.core.batch import Batch
from ltbench.losses import cross_entropy
from ltbench.methods import METHODS
from ltbench.methods.rebalancing.bayesian_uncertainty import (
    deviations,
    large_margin,
    uncertain_logits,
)
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CASE = Case("bayesian_uncertainty", {"start": 0.5})
LABEL = torch.tensor([0])
WEIGHT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
FEATURE = torch.tensor([[1.5, 0.5]], dtype=torch.float64)
VARIANCE = torch.tensor([[0.04, 0.09]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("angle", "factor", "expected"),
    [(1.0, 1.0, 0.54030231), (1.0, 1.5, 0.07073720), (2.0, 2.5, -2.28366219)],
)
def test_the_large_margin_function(angle, factor, expected):
    cosine = torch.tensor(angle, dtype=torch.float64).cos().requires_grad_()
    factor = torch.tensor(factor, dtype=torch.float64)
    assert float(large_margin(cosine, factor).detach()) == pytest.approx(expected, abs=5e-9)
    assert torch.autograd.gradcheck(lambda each: large_margin(each, factor), (cosine,))


def test_the_large_margin_function_falls_without_jumps():
    cosines = torch.linspace(0, math.pi, 2001, dtype=torch.float64).cos()
    for factor in (1.0, 1.3, 1.5, 2.5):
        found = large_margin(cosines, torch.full_like(cosines, factor))
        assert found.diff().max() <= 1e-12
        assert found.diff().min() > -0.01
    assert large_margin(cosines, torch.ones_like(cosines)).equal(cosines)


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.0, 0.64165796), (1.5, 1.19423397), (2.0, 1.95909424)]
)
def test_the_margin_of_a_class(factor, expected):
    angles = torch.tensor([1.0, 1.3, 1.6], dtype=torch.float64)
    weight = torch.stack([angles.cos(), angles.sin()], dim=1)
    feature = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    factors = torch.tensor([factor, 1.0, 1.0], dtype=torch.float64)
    logits = uncertain_logits(feature, weight, LABEL, torch.zeros_like(feature), factors, 1.0)
    assert float(cross_entropy(logits, LABEL)) == pytest.approx(expected, abs=5e-9)


def test_deviations_of_an_image():
    found = deviations(WEIGHT, VARIANCE, LABEL).sqrt()[0]
    assert found.tolist() == pytest.approx([0, 0.36055513, 0.4], abs=5e-9)


@pytest.mark.parametrize(("quantile", "expected"), [(0.0, 0.34901222), (1.0, 0.47116470)])
@pytest.mark.parametrize("form", ["deviation", "half_variance"])
def test_the_margin_of_an_image_and_its_gradient(quantile, expected, form):
    factors = torch.tensor([1.0, 1.2, 1.4], dtype=torch.float64)

    def loss(feature, weight, quantile=quantile):
        logits = uncertain_logits(feature, weight, LABEL, VARIANCE, factors, quantile, form)
        return cross_entropy(logits, LABEL)

    if form == "deviation":
        assert float(loss(FEATURE, WEIGHT)) == pytest.approx(expected, abs=5e-9)
    else:
        squares = torch.tensor([0, 0.13, 0.16], dtype=torch.float64)
        plain = FEATURE @ WEIGHT.T + quantile * squares / 2
        torch.testing.assert_close(loss(FEATURE, WEIGHT), cross_entropy(plain, LABEL))
    assert loss(FEATURE, WEIGHT, 2.0) > loss(FEATURE, WEIGHT, 1.0) > loss(FEATURE, WEIGHT, 0.0)
    free = FEATURE.clone().requires_grad_(), WEIGHT.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, free)


def test_margins_are_single_precision_under_autocast():
    generator = torch.Generator().manual_seed(0)
    features, weight, labels = (
        torch.rand(5, 64, generator=generator),
        torch.randn(3, 64, generator=generator),
        torch.arange(5) % 3,
    )
    variances, factors = features.square(), torch.tensor([1.0, 1.2, 1.4])

    def logits():
        return uncertain_logits(features, weight, labels, variances, factors, 1.0)

    with torch.autocast("cpu", torch.bfloat16):
        found = logits()
    assert found.dtype == torch.float32
    assert found.equal(logits())


def test_uncertainties_are_single_precision_under_autocast():
    method = measured().float()
    batch, found = steps.evaluation_batch(method), []
    features = method.network.features(batch.images).detach()  # in place of images: cached ones
    for enabled in (False, True):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            method.update_statistics(Batch(features, batch.labels, batch.index))
            method.finalize_statistics()
        found.append(method.uncertainties.clone())
    assert found[1].equal(found[0])


def test_without_margins_it_is_cross_entropy():
    hparams = {"start": 0.0, "max_factor": 1.0, "quantile": 0.0}
    method = steps.begin(Case("bayesian_uncertainty", hparams)).double()
    batch = steps.training_batch(method)
    expected = cross_entropy(method.network(batch.images), batch.labels)
    torch.testing.assert_close(steps.loss_of(method, batch), expected)


def test_at_first_features_have_dropout():
    method = steps.begin(CASE).double()
    batch = steps.training_batch(method)
    found = steps.loss_of(method, batch)
    steps.begin_epoch(method)
    features = method.network.features(batch.images)
    kept = (method.rng.uniform(features, features.shape[1]) >= 0.5) * 2
    torch.testing.assert_close(
        found, cross_entropy(method.network.classifier(features * kept), batch.labels)
    )


def measured(epoch=1):
    method = steps.begin(CASE).double()
    steps.begin_epoch(method, epoch)
    steps.gather_statistics(method)
    method.train()
    return method


def test_uncertainties_are_variances_under_dropout():
    method = measured()
    batch = steps.evaluation_batch(method)
    method.eval()
    with torch.inference_mode():
        method.update_statistics(batch)
        method.finalize_statistics()
    features = method.network.features(batch.images)
    passes = torch.stack(
        [method.network.classifier(features * mask).softmax(dim=1) for mask in method.masks]
    )
    variances = passes.var(dim=0, correction=0).mean(dim=1)
    means = torch.stack([variances[batch.labels == k].mean() for k in range(4)])
    torch.testing.assert_close(method.uncertainties, (means / means.max()).detach())
    assert set(method.masks.unique().tolist()) == {0, 2}


def test_without_a_measurement_classes_are_equal():
    method = steps.begin(CASE)
    assert method.uncertainties.tolist() == [0, 0, 0, 0]


def test_a_late_step_has_both_margins():
    method = measured()
    batch = steps.training_batch(method)
    features = method.network.features(batch.images)
    weight = method.network.classifier.weight
    factors = 1 + 0.5 * method.uncertainties
    assert factors.max() == 1.5
    logits = uncertain_logits(
        features, weight, batch.labels, features.detach().square(), factors, 1.0
    )
    torch.testing.assert_close(
        method.training_loss(batch), cross_entropy(logits, batch.labels), rtol=1e-6, atol=1e-9
    )


def test_margins_rise_and_uncertainties_are_measured_every_five_epochs():
    method = steps.begin(Case("bayesian_uncertainty"))
    method.uncertainties.fill_(1.0)
    progress = type(method.progress)
    factors, measured = [], []
    for epoch in range(200):
        method.progress = progress(epoch, 200, deferred=False)
        if method.needs_statistics_now():
            measured.append(epoch)
        if epoch >= 120:
            factors.append(float(method.factors()[0]))
    assert measured == list(range(120, 200, 5))
    assert factors[:6] == pytest.approx([1.1, 1.2, 1.3, 1.4, 1.5, 1.5])


def test_it_is_compared_with_no_published_number():
    readings = {key for key, method in METHODS.items() if method.own_reading}
    assert readings == {"bayesian_uncertainty", "iem", "ltml"}
    names, _ = read_yaml(REFERENCE / "names.yaml")
    assert not readings & {row["method"] for row in names["variants"]}
