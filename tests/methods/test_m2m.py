"""M2m: the authors' draws and translations, and the gradient at the bounds of pixels."""

import pytest
import torch
from torch import nn

from ltbench.core.batch import Batch
from ltbench.methods import METHODS
from ltbench.methods.augmentation.m2m import (
    NOISE,
    descend,
    draw_seeds,
    in_bounds,
    seed_probabilities,
    short_noise,
)
from ltbench.methods.step_input import example_draw
from ltbench.networks import Network, NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case
from tests.losses.test_loss_oracles import EXACT

CASE = Case("m2m")
EVERYTHING = torch.ones(12, dtype=torch.bool)


class Drawn:
    """The random numbers of a case, in place of a generator."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, samples, *shape):
        drawn = self.values.pop(0)
        assert drawn.shape == (len(samples), *shape)
        return drawn


def of_case(oracle, bounds="open"):
    """Return a method with the networks of a case, which are linear."""
    kind, values = METHODS["m2m"], oracle.hparams
    counts = oracle["counts"].long()
    spec = NetworkSpec(
        "resnet8",
        len(counts),
        mean=tuple(oracle["norm_mean"].tolist()),
        std=tuple(oracle["norm_std"].tolist()),
    )
    hparams = kind.HParams(
        beta=values["beta"],
        weight=values["lam"],
        confidence=values["gamma"],
        steps=int(values["attack_iter"]),
        step_size=values["step_size"],
        bounds=bounds,
    )
    method = kind(spec, counts, hparams).double()
    method.mean, method.std = oracle["norm_mean"][:, None, None], oracle["norm_std"][:, None, None]
    for owner, name in ((method, "W_f"), (method.teacher, "W_g")):
        classes, width = oracle[name].shape
        owner.network = Network(nn.Flatten(), nn.Linear(width, classes, bias=False)).double()
        owner.network.classifier.weight.data = oracle[name]
    return method


@pytest.mark.oracle("m2m", has=["generated_images"])
def test_seeds_and_their_probabilities(oracle):
    counts, labels = oracle["counts"].long(), oracle["labels"].long()
    keep = counts[labels] / counts.max()
    torch.testing.assert_close(keep, oracle["keep_probability"].to(keep.dtype))
    slots = (oracle["uniform_for_keep"] >= oracle["keep_probability"]).nonzero().flatten()
    assert slots.tolist() == oracle["gen_index"].tolist()
    found = seed_probabilities(labels[slots], labels, counts, oracle.hparams["beta"])
    valid = found.any(dim=1)
    assert slots[valid].tolist() == oracle["gen_index_valid"].tolist()
    torch.testing.assert_close(found[valid], oracle["accept_prob_matrix_valid_rows"], **EXACT)
    chosen = found[valid].gather(1, oracle["selected_seed_index"].long()[:, None])[:, 0]
    torch.testing.assert_close(chosen, oracle["p_accept_selected"], **EXACT)


@pytest.mark.oracle("m2m", has=["generated_images"])
def test_translated_and_accepted_images(oracle):
    """Both cases, with no gradient at the bounds."""
    method, labels = of_case(oracle), oracle["labels"].long()
    seeds, targets = oracle["selected_seed_index"].long(), oracle["gen_targets_valid"].long()
    pixels = in_bounds(oracle["images"][seeds] + oracle["start_noise"])
    found = method.translate(pixels, labels[seeds], targets, torch.ones_like(targets).bool())
    torch.testing.assert_close(found, oracle["generated_images"], **EXACT)
    accepted = method.accepts(found, targets)
    accepted &= oracle["uniform_for_accept"] < oracle["p_accept_selected"]
    assert accepted.tolist() == oracle["accepted_mask"].bool().tolist()
    closed = of_case(oracle, "closed")
    other = closed.translate(pixels, labels[seeds], targets, torch.ones_like(targets).bool())
    assert not torch.allclose(other, found)


@pytest.mark.oracle("m2m", has=["generated_images"])
def test_a_batch_of_a_case(oracle):
    """Both cases whole, with the gradient at the bounds: draws, seeds, noise and acceptance."""
    method, labels = of_case(oracle, "closed"), oracle["labels"].long()
    slots, seeds = oracle["gen_index_valid"].long(), oracle["selected_seed_index"].long()
    counts, beta = oracle["counts"].long(), oracle.hparams["beta"]
    probabilities = seed_probabilities(labels[slots], labels, counts, beta)
    edges = probabilities.cumsum(dim=1)
    middle = edges.gather(1, seeds[:, None]) - probabilities.gather(1, seeds[:, None]) / 2
    numbers = torch.zeros(len(labels), 3, dtype=torch.float64)
    numbers[:, 0] = oracle["uniform_for_keep"]
    numbers[slots, 1] = (middle / edges[:, -1:])[:, 0]
    numbers[slots, 2] = oracle["uniform_for_accept"]
    start_noise = 0.99 * oracle["start_noise"]  # which is as long as it may be, but rounded
    noise = torch.full_like(oracle["images"], 0.5)
    noise[slots] += start_noise
    method.rng = Drawn(numbers, noise)
    images = (oracle["images"] - method.mean) / method.std
    found = method.with_translations(Batch(images, labels, None)) * method.std + method.mean

    expected = oracle["images"].clone()
    start = in_bounds(expected[seeds] + start_noise)
    made = method.translate(start, labels[seeds], labels[slots], torch.ones_like(slots).bool())
    accepted = method.accepts(made, labels[slots])
    accepted &= oracle["uniform_for_accept"] < oracle["p_accept_selected"]
    expected[slots[accepted]] = made[accepted]
    assert accepted.any()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_seeds_follow_their_probabilities():
    probabilities = torch.tensor([[0, 0.1, 0.3]] * 4 + [[0, 0, 0]], dtype=torch.float64)
    numbers = torch.tensor([0, 0.2499, 0.2501, 0.9999, 0.5])
    assert draw_seeds(probabilities, numbers).tolist() == [1, 1, 2, 2, 0]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [("closed", [0.06 / 1.04**0.5, 0.4 + 0.02 / 1.04**0.5, 1.0]), ("open", [0.0, 0.5, 1.0])],
)
def test_the_gradient_of_pixels_at_the_bounds(bounds, expected):
    """A linear loss of pixels at 0, within, and at 1, where the step leads out."""
    slope = torch.tensor([-0.6, -0.2, -0.8], dtype=torch.float64)
    start = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64).view(1, 3, 1, 1)
    found = descend(start, lambda pixels: (pixels.flatten() * slope).sum(), 1, 0.1, bounds)
    assert found.flatten().tolist() == pytest.approx(expected)


def test_noise_has_a_longest_length_by_channel():
    noise = torch.rand(12, 3, 6, 6, dtype=torch.float64) - 0.5
    noise[:, 2] /= 1000
    found = short_noise(noise, EVERYTHING)
    lengths = found.transpose(0, 1).flatten(1).norm(dim=1)
    assert lengths[:2].tolist() == pytest.approx([NOISE, NOISE], rel=1e-6)
    assert found[:, 2].equal(noise[:, 2])
    half = EVERYTHING.clone()
    half[6:] = False
    assert short_noise(noise, half)[:6, 0].norm() == pytest.approx(NOISE, rel=1e-6)


def test_before_the_deferred_epoch_it_is_softmax():
    method, softmax = steps.begin(CASE), steps.begin(Case("softmax"))
    softmax.network.load_state_dict(method.network.state_dict())
    batch = steps.training_batch(method)
    assert steps.loss_of(method, batch).equal(steps.loss_of(softmax, batch))


def test_equal_classes_are_never_translated():
    method = steps.begin(Case("m2m", {"confidence": 0.0}), counts=(5, 5, 5, 5))
    batch = steps.training_batch(method)
    steps.begin_epoch(method, 1)
    assert method.with_translations(batch).equal(batch.images)


def test_small_classes_are_made_from_larger_ones_in_evaluation_mode():
    method = steps.begin(Case("m2m", {"confidence": 0.0, "beta": 0.5}), norm="batch")
    batch = steps.training_batch(method)
    state = {name: value.clone() for name, value in method.state_dict().items()}
    steps.begin_epoch(method, 1)
    found = method.with_translations(batch)
    changed = (found != batch.images).flatten(1).any(dim=1)
    assert not changed[batch.labels == 0].any()
    assert changed[batch.labels > 0].any()
    assert method.network.training
    assert all(value.equal(state[name]) for name, value in method.state_dict().items())


def test_without_translations_it_is_deferred_resampling():
    method, softmax = (
        steps.begin(Case("m2m", {"translations": False})),
        steps.begin(Case("softmax")),
    )
    softmax.network.load_state_dict(method.network.state_dict())
    batch = steps.training_batch(method)
    assert steps.loss_of(method, batch, epoch=1).equal(steps.loss_of(softmax, batch))
    assert method.progress.deferred
    assert [*method.epoch_indices(example_draw(method, 8))] == ["class_balanced"]
