"""Inflated episodic memory, our reading: its stage, losses and predictions."""

import torch
import torch.nn.functional as F

from ltbench.config.hparams import HParamResolver
from ltbench.config.load import load_dataset
from ltbench.config.registry import load_registry
from ltbench.losses import cross_entropy
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CASE = Case("iem")


def begun(**hparams):
    return steps.begin(Case("iem", hparams)).double()


def test_it_begins_as_the_softmax_network_with_filled_slots():
    torch.manual_seed(5)  # as of the start
    counts = torch.tensor(steps.COUNTS)
    start = Softmax(NetworkSpec("resnet8", 4, 3, "group"), counts)
    method = steps.begin(CASE).eval()
    batch = steps.evaluation_batch(method)
    features = method.network.features(batch.images)
    torch.testing.assert_close(features, start.network.features(batch.images))
    torch.testing.assert_close(method.network.queries(features), F.normalize(features))
    memory = method.network.memory
    assert memory.filled.all()
    assert memory.keys.norm(dim=1).sub(1).abs().max() < 1e-6


def test_the_loss_is_that_of_classifier_and_memory():
    method = begun()
    batch = steps.training_batch(method)
    features = method.network.features(batch.images)
    queries = F.normalize(features @ method.network.query.weight.T)
    keys = method.network.memory.keys.clone()
    probabilities = (queries @ keys.T / 0.1).softmax(dim=1).unflatten(1, (4, 4)).sum(dim=2)
    of_label = probabilities.gather(1, batch.labels[:, None])
    steps.begin_epoch(method)
    losses = method.training_loss(batch)
    torch.testing.assert_close(losses["memory"], -of_label.log().mean())
    logits = method.network.classifier(features)
    torch.testing.assert_close(losses["classes"], cross_entropy(logits, batch.labels))
    doubled = begun(memory_weight=2.0)
    steps.begin_epoch(doubled)
    torch.testing.assert_close(doubled.training_loss(batch)["memory"], 2 * losses["memory"])


def test_a_step_writes_its_images():
    method = begun()
    batch = steps.training_batch(method)
    wanted = steps.begin(CASE).double().network
    wanted.memory.write(wanted.queries(wanted.features(batch.images)), batch.labels)
    before = method.network.memory.keys.clone()
    steps.loss_of(method, batch)
    assert not method.network.memory.keys.equal(before)
    for ours, theirs in zip(method.network.memory.buffers(), wanted.memory.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_predictions_are_the_sum_of_both_probabilities():
    method = begun().eval()
    images = steps.evaluation_batch(method).images
    features = method.network.features(images)
    memory = method.network.memory(method.network.queries(features)).exp()
    expected = (method.network.classifier(features).softmax(dim=1) + memory) / 2
    torch.testing.assert_close(method.predict(images).exp(), expected)
    keys = method.network.memory.keys.clone()
    method.predict(images)
    assert method.network.memory.keys.equal(keys)


def test_the_backbone_is_slower():
    scales = {name: begun().lr_scale(name) for name, _ in begun().named_parameters()}
    slow = {name for name, scale in scales.items() if scale == 0.1}
    assert slow == {name for name in scales if name.startswith("network.backbone.")}
    assert {1.0, 0.1} == set(scales.values())


def test_classes_of_large_images_have_more_slots():
    resolver = HParamResolver(load_registry())
    expected = {"cifar10": 4, "tinyimagenet": 4, "imagenet_lt": 8, "inaturalist2018": 8}
    for name, slots in expected.items():
        assert resolver.resolve("iem", {}, load_dataset(name)).values["slots"] == slots
