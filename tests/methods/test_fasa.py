"""FASA: its probabilities, its virtual features, and what they are adapted on."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from ltbench.methods import METHODS
from ltbench.methods.augmentation.fasa import (
    adapted_probabilities,
    initial_probabilities,
    similar_classes,
)
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Bench, Case

EXACT = {"rtol": 1e-12, "atol": 0}


@pytest.mark.oracle("fasa", has=["init_prob"])
def test_first_probabilities(oracle):
    hparams = oracle.hparams
    found = initial_probabilities(oracle["counts"], hparams["power"], hparams["scale"])
    torch.testing.assert_close(found, oracle["init_prob"], **EXACT)


@pytest.mark.oracle("fasa", has=["dyn_prob_after"])
def test_probabilities_are_adapted_as_the_authors_do(oracle):
    """The arrays of losses have a last entry for the background."""
    after = oracle["dyn_cum_losses"] / oracle["dyn_cum_labels"].sum()
    torch.testing.assert_close(after, oracle["dyn_loss_t0_after"], **EXACT)
    found = adapted_probabilities(
        oracle["dyn_prob_before"],
        oracle["dyn_loss_t0"][:-1],
        after[:-1],
        oracle["dyn_clusters"],
        oracle.hparams["up"],
        oracle.hparams["down"],
    )
    torch.testing.assert_close(found, oracle["dyn_prob_after"], **EXACT)


def with_moments(mean, variance, probabilities):
    """Return FASA in its second epoch with given moments, a linear classifier and fixed draws."""
    spec = NetworkSpec("resnet8", len(mean), norm="group")
    method = METHODS["fasa"](spec, torch.full((len(mean),), 9)).double()
    width = mean.shape[1]
    method.network.classifier = torch.nn.Linear(width, len(mean)).double()
    moments = method.moments
    moments.seen.fill_(1)
    moments.mean, moments.variance = mean.clone(), variance.clone()
    method.probabilities.copy_(probabilities)
    steps.begin_epoch(method, 1)
    return method


class FixedDraws:
    """Uniform numbers that are given, and a generator of normal ones."""

    def __init__(self, uniform):
        self.uniform, self.generator = uniform, torch.Generator().manual_seed(3)

    def shared(self, count):
        assert count == len(self.uniform)
        return self.uniform


@pytest.mark.oracle("fasa", has=["gen_feats"])
def test_virtual_features_and_their_loss(oracle, monkeypatch):
    """The loss is that of the authors' features and labels, and so is its gradient."""
    mean, variance = oracle["running_mean_and_variance_after_each"][-1]
    method = with_moments(mean, variance, oracle["gen_prob"])
    labels = oracle["gen_labels"].long()
    noise = torch.zeros_like(mean).index_copy(0, labels, oracle["gen_gauss"])
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise)
    method.rng = FixedDraws(oracle["gen_uniform"])
    classifier = method.network.classifier
    found = method.virtual_loss(torch.zeros(1, mean.shape[1], dtype=torch.float64))
    expected = cross_entropy(classifier(oracle["gen_feats"]), labels)
    torch.testing.assert_close(found, expected, **EXACT)
    ours, theirs = (torch.autograd.grad(each, classifier.weight)[0] for each in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-15)


def test_classes_without_features_have_no_virtual_ones():
    mean = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]], dtype=torch.float64)
    method = with_moments(mean, torch.zeros_like(mean), torch.ones(3))
    method.moments.seen.copy_(torch.tensor([4, 0, 2]))
    features = mean[:1]
    expected = cross_entropy(method.network.classifier(mean[[0, 2]]), torch.tensor([0, 2]))
    torch.testing.assert_close(method.virtual_loss(features), expected)
    method.moments.seen.zero_()
    assert method.virtual_loss(features) == 0


def test_a_group_whose_loss_rises_gets_fewer_and_one_whose_loss_stays_as_many():
    probabilities, before = torch.full((5,), 0.5).double(), torch.ones(5).double()
    after = torch.tensor([2.0, 0.5, 0.9, 1.0, 1.0]).double()
    groups = torch.tensor([0, 0, 1, 2, 1])
    found = adapted_probabilities(probabilities, before, after, groups)
    assert found.tolist() == pytest.approx([0.45, 0.45, 0.55, 0.5, 0.55])
    assert adapted_probabilities(before, before, 0 * after, groups).eq(1).all()


def test_classes_with_close_means_are_a_group():
    means = torch.tensor([[0.0, 0.1], [5.0, 5.0], [0.1, 0.0], [5.1, 5.0], [0.0, 0.0]])
    groups = similar_classes(means.double())
    assert len(groups[[0, 2, 4]].unique()) == len(groups[[1, 3]].unique()) == 1
    assert groups[0] != groups[1]
    assert len(similar_classes(torch.zeros(4, 2).double())) == 4


def test_virtual_features_begin_with_the_second_epoch_and_the_third_is_adapted():
    method = steps.begin(Case("fasa"))
    batch = steps.training_batch(method)
    steps.begin_epoch(method, 0)
    assert list(method.training_loss(batch)) == ["classes"]
    first = method.probabilities.clone()
    with torch.inference_mode():
        method.tune_on_validation([steps.evaluation_batch(method)])
    assert method.probabilities.equal(first)
    assert method.losses.all()
    steps.begin_epoch(method, 1)
    assert list(method.training_loss(batch)) == ["classes", "virtual"]
    method.losses.mul_(2)
    with torch.inference_mode():
        method.tune_on_validation([steps.evaluation_batch(method)])
    assert method.probabilities.gt(first).all()


def test_it_adapts_on_held_out_images_and_never_on_those_of_the_test():
    bench, jobs = Bench(), Case("fasa").jobs()
    record = bench.train(jobs)
    assert jobs[-1].dataset.auxiliary.source == "train_holdout"
    state, held_out = bench.state(jobs[-1]), record.split.auxiliary_counts
    assert state["losses"].gt(0).tolist() == [count > 0 for count in held_out]
