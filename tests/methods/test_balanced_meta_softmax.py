"""BALMS: the authors' draw and meta step, and what is drawn."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ltbench.core.batch import Batch
from ltbench.losses import balanced_softmax
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.methods.rebalancing.balanced_meta_softmax import draw_images, initial_logits
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case
from tests.losses.test_loss_oracles import EXACT

CASE = Case("balanced_meta_softmax")


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.oracle("balms_meta_sampler", has=["drawn_indices"])
def test_a_draw_and_a_meta_step(oracle, monkeypatch):
    """All cases. The first step of the authors' optimizer has no momentum yet."""
    values, counts = oracle.hparams, oracle["counts"]
    kind = METHODS["balanced_meta_softmax"]
    hparams = kind.HParams(
        power=values["init_pow"],
        meta_lr=values["meta_lr"],
        virtual_decay=values["inner_weight_decay"],
    )
    method = kind(NetworkSpec("resnet8", len(counts)), counts, hparams).double()
    logits = initial_logits(counts, values["init_pow"])
    close(logits, oracle["init_fc_weight"][0])
    close(logits.sigmoid(), oracle["init_sample_rate"][0])
    method.rates.module["logits"].copy_(logits)  # in double precision
    method.progress = Progress(0, 2, deferred=False, lr=values["inner_lr"])
    width = oracle["fc_weight"].shape[1]
    method.network.classifier = nn.Linear(width, len(counts)).double()
    state = {"weight": oracle["fc_weight"], "bias": oracle["fc_bias"]}
    method.network.classifier.load_state_dict(state)
    method.features, method.labels = oracle["data_features"], oracle["data_labels"]

    drawn = method.learn_rates(oracle["meta_x"], oracle["meta_y"], oracle["exponential_noise"])
    assert drawn.equal(oracle["drawn_indices"])
    close(method.rates.get_buffer("mean0") / 0.1, oracle["meta_grad_fc_weight"][0])
    close(method.rates.module["logits"], oracle["updated_fc_weight"][0])
    assert all(
        value.equal(state[name]) for name, value in method.network.classifier.state_dict().items()
    )
    loss = balanced_softmax(
        method.network.classifier(method.features[drawn]), method.labels[drawn], counts
    )
    close(loss.detach(), oracle["inner_loss"])

    monkeypatch.setattr(method, "learn_rates", lambda *_: drawn)  # the real step has this loss
    method.rng = SimpleNamespace(uniform=lambda rows, *shape: torch.zeros(len(rows), *shape))
    labels = oracle["meta_y"]
    loss = method.training_loss(Batch(None, labels, torch.arange(len(labels))))
    close(loss.detach(), oracle["inner_loss"])


def test_images_are_drawn_by_their_rates():
    rates = torch.tensor([0.1, 0.2, 0.2, 0.7], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    noise = -(torch.rand(40_000, 4, generator=generator, dtype=torch.float64) + 2**-60).log()
    drawn, factors = draw_images(rates.log(), noise)
    share = torch.bincount(drawn).double() / len(drawn)
    torch.testing.assert_close(share, rates / rates.sum(), atol=0.01, rtol=0)
    assert factors.unique().tolist() == [1.0]


def test_a_first_random_number_of_zero_draws_an_image():
    method = steps.begin(CASE)
    steps.begin_epoch(method)
    method.rng = SimpleNamespace(uniform=lambda rows, *shape: torch.zeros(len(rows), *shape))
    assert method.training_loss(steps.training_batch(method)).isfinite()


def test_rates_begin_at_one_half_or_in_favor_of_small_classes():
    counts = torch.tensor([100, 10, 1])
    assert initial_logits(counts, 0.0).sigmoid().tolist() == [0.5] * 3
    rates = initial_logits(counts, 0.5).sigmoid()
    assert float(rates.min() + rates.max()) == pytest.approx(1)
    assert (rates * counts**0.5 / rates[2]).tolist() == pytest.approx([1] * 3)


def test_features_are_those_of_all_images_and_are_not_saved():
    method = steps.begin(CASE)
    batch = steps.evaluation_batch(method, seed=1)
    with torch.no_grad():
        expected = method.network.features(batch.images)
    assert method.features[batch.index].equal(expected)
    assert method.labels[batch.index].equal(batch.labels)
    assert not method.needs_statistics_now()
    assert not {"features", "labels"} & method.state_dict().keys()
    assert steps.build(CASE).needs_statistics_now()


def test_features_of_held_out_images_pass_the_backbone():
    method = steps.begin(Case("balanced_meta_softmax", {"meta_images": "held_out"}))
    assert method.stage.has_auxiliary_stream
    batch = steps.training_batch(method)
    meta, features = method.meta_features({"class_aware": batch, "auxiliary": batch})
    assert meta is batch
    assert features.equal(method.network.features(batch.images))
    assert method.meta_features(batch)[1].equal(method.features[batch.index])
