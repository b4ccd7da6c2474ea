"""GIST against the authors' numbers, and its two stages."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.losses import cross_entropy
from ltbench.methods import METHODS
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case
from tests.classifiers.test_constellation import loaded
from tests.losses.test_loss_oracles import EXACT


@pytest.mark.oracle("gist", has=["loss"])
def test_loss_and_gradients(oracle):
    """The parts, the sum, and its six gradients; one of the features is stored in float32."""
    counts = torch.ones(len(oracle["weights_c"]), dtype=torch.int64)
    hparams = METHODS["gist"].HParams(balanced_weight=oracle.hparams["lambda"])
    method = METHODS["gist"](NetworkSpec("resnet8", len(counts)), counts, hparams)
    method.network.classifier = classifier = loaded(oracle)
    features = oracle["feats_first_classbalanced_then_random"].requires_grad_()
    labels = (oracle[f"labels_{name}"].long() for name in ("classbalanced", "random"))
    losses = method.losses(*features.chunk(2), *labels)
    torch.testing.assert_close(losses["instance"], oracle["loss_random"], **EXACT)
    expected = hparams.balanced_weight * oracle["loss_classbalanced"]
    torch.testing.assert_close(losses["balanced"], expected, **EXACT)
    loss = total_loss(losses)
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    loss.backward()
    for name, value in (
        ("weights_c", classifier.weight),
        ("weights_r", classifier.instance_weight),
        ("struct", classifier.displacements),
        ("tau_c", classifier.scale),
        ("tau_r", classifier.instance_scale),
    ):
        torch.testing.assert_close(value.grad, oracle[f"grad_{name}"], **EXACT)
    torch.testing.assert_close(features.grad, oracle["grad_feats"], **EXACT)


def test_the_first_stage_has_no_displacements():
    method = steps.begin(Case("gist"))
    found = steps.gradients(method, steps.loss_of(method, steps.training_batch(method)))
    assert "network.classifier.displacements" not in found
    assert not method.classifier.displacements.any()


def test_the_second_stage_starts_from_the_first_with_random_displacements():
    first = steps.begin(Case("gist"))
    second = steps.begin(Case("gist"), 1, weights=first.state_dict())
    for name, value in first.state_dict().items():
        if name != "network.classifier.displacements":
            assert value.equal(second.state_dict()[name])
    displacements = second.classifier.displacements
    assert displacements.requires_grad
    assert displacements.shape == (4, second.classifier.weight.shape[1])
    assert 0.08 < float(displacements.detach().std()) < 0.12  # of weights of 1
    assert not displacements[0].equal(displacements[1])


def test_both_batches_pass_as_one_and_have_their_classifiers():
    method = steps.begin(Case("gist"), 1, norm="batch").double()
    whole = steps.training_batch(method)
    halves = [
        Batch(*(x[rows] for x in (whole.images, whole.labels, whole.index)))
        for rows in (slice(0, 4), slice(4, 8))
    ]
    names = method.stage.samplers
    assert names == ("class_aware(per_class=4)", "instance")
    found = total_loss(method.training_loss(dict(zip(names, halves, strict=True))))
    features = method.network.features(whole.images)
    balanced = cross_entropy(method.classifier(features[:4]), halves[0].labels)
    instance = cross_entropy(method.classifier.instance(features[4:]), halves[1].labels)
    torch.testing.assert_close(found, instance + 0.5 * balanced)


def test_predictions_are_those_of_the_class_balanced_classifier():
    method = steps.finish(steps.begin(Case("gist"), 1))
    images = steps.evaluation_batch(method).images
    with torch.inference_mode():
        found = method.predict(images)
        assert found.equal(method.classifier(method.network.backbone(images)))
        assert not found.equal(method.classifier.instance(method.network.backbone(images)))
