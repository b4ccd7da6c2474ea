"""SSD: contrast with keys of other classes, class scales, and a student with two heads."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.classifiers import LearnableScale
from ltbench.losses import cross_entropy, distillation, info_nce
from ltbench.testing import steps
from ltbench.testing.jobs import Case

EXACT = {"rtol": 1e-8, "atol": 1e-12}
CASE = Case("ssd", {"queue": 24, "width": 8})


def begun(stage, **hparams):
    return steps.begin(Case("ssd", {**CASE.hparams, **hparams}), stage).double()


@pytest.mark.oracle("ssd_dive", has=["con_loss"])
def test_contrast_with_keys_of_other_classes(oracle):
    queries = oracle["con_q_raw"].requires_grad_()
    keys, queue = F.normalize(oracle["con_k_raw"]), F.normalize(oracle["con_queue_raw"])
    others = oracle["labels"][:, None] != oracle["con_queue_labels"]
    value = info_nce(F.normalize(queries), keys, queue, float(oracle["con_hp_T"]), others)
    torch.testing.assert_close(value, oracle["con_loss"], **EXACT)
    (gradient,) = torch.autograd.grad(value, queries)
    expected = oracle["con_grad_q_raw"]
    rtol = 1e-5 if expected.numel() > 1500 else 1e-8
    atol = rtol * float(expected.abs().max())
    torch.testing.assert_close(gradient, expected, rtol=rtol, atol=atol)


@pytest.mark.oracle("ssd_dive", has=["lws_logits"])
def test_scales_multiply_the_whole_logit(oracle):
    features = oracle["lws_feats"]
    classifier = LearnableScale(features.shape[1], len(oracle["lws_b"])).double()
    state = {"weight": oracle["lws_W"], "bias": oracle["lws_b"], "scale": oracle["lws_scales"]}
    classifier.load_state_dict(state)
    torch.testing.assert_close(classifier(features), oracle["lws_logits"], **EXACT)


@pytest.mark.oracle("ssd_dive", has=["ssd_total"])
def test_the_loss_of_the_student(oracle):
    """Its distillation is held against the file in tests/losses/test_distillation.py."""
    temperature, labels = float(oracle["ssd_hp_T"]), oracle["labels"].long()
    divergence = distillation(
        oracle["student_kd_head_logits"], oracle["teacher_logits"], temperature
    )
    total = cross_entropy(oracle["student_hard_head_logits"], labels) + temperature**2 * divergence
    torch.testing.assert_close(total, oracle["ssd_total"], **EXACT)


def test_the_first_stage_has_labels_and_contrast():
    method = begun(0)
    batch = steps.training_batch(method)
    steps.begin_epoch(method)
    network, (first, second) = method.network, batch.images
    queries = F.normalize(network.projection(network.features(first)))
    keys = F.normalize(network.projection(network.features(second))).detach()
    queue, labels = method.queue.keys.clone(), method.queue.labels.clone()
    losses = method.training_loss(batch)
    torch.testing.assert_close(losses["labels"], cross_entropy(network(first), batch.labels))
    expected = []
    for i, label in enumerate(batch.labels):
        own, others = (queries[i] @ keys[i] / 0.2).exp(), queue[labels != label]
        expected.append(-(own / (own + (others @ queries[i] / 0.2).exp().sum())).log())
    torch.testing.assert_close(losses["contrast"], torch.stack(expected).mean())
    torch.testing.assert_close(method.queue.keys[:8], keys)
    assert method.queue.labels[:8].equal(batch.labels)
    assert method.stage.views == ("recipe", "distorted")


def test_the_queue_has_a_key_for_each_training_image():
    assert len(steps.build(Case("ssd")).queue.keys) == sum(steps.COUNTS)


def trained(method):
    return {name for name, value in method.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("stage", [1, 3])
def test_the_second_and_last_stage_train_scales_alone(stage):
    method = begun(stage)
    assert trained(method) == {"network.classifier.scale"}
    batch = steps.training_batch(method)
    expected = cross_entropy(method.network(batch.images), batch.labels)
    torch.testing.assert_close(steps.loss_of(method, batch), expected)


def test_the_third_stage_begins_anew_with_the_second_as_teacher():
    before = begun(1).float()
    with torch.no_grad():
        before.network.classifier.scale.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    method = steps.begin(CASE, 2, weights=before.state_dict())
    images = steps.evaluation_batch(method).images
    assert method.eval().teacher(images).equal(before.eval().network(images))
    assert not any(
        value.equal(before.state_dict()[name])
        for name, value in method.network.state_dict(prefix="network.").items()
        if name.endswith(("conv1.weight", "classifier.weight"))
    )
    assert method.network.classifier.scale.tolist() == [1, 1, 1, 1]
    heads = {name for name in trained(method) if "backbone" not in name}
    assert heads == {
        f"network.{name}"
        for name in ("classifier.weight", "classifier.bias", "second.weight", "second.bias")
    }


@pytest.mark.parametrize(("temperature", "weight"), [(2.0, 1.0), (3.0, 0.5)])
def test_the_student_has_a_head_for_labels_and_one_for_the_teacher(temperature, weight):
    method = begun(2, temperature=temperature, distillation_weight=weight)
    batch = steps.training_batch(method)
    steps.begin_epoch(method)
    losses = method.training_loss(batch)
    features = method.network.features(batch.images)
    labels = cross_entropy(method.network.classifier(features), batch.labels)
    torch.testing.assert_close(losses["labels"], labels)
    soft, teacher = method.network.second(features), method.teacher(batch.images)
    divergence = distillation(soft, teacher, temperature)
    expected = weight * temperature**2 * divergence
    torch.testing.assert_close(losses["distillation"], expected)
    assert method.eval().predict(batch.images).equal(method.network(batch.images))


def test_the_last_stage_keeps_the_student():
    before = begun(2).float()
    method = steps.begin(CASE, 3, weights=before.state_dict())
    images = steps.evaluation_batch(method).images
    assert method.eval().predict(images).equal(before.eval().predict(images))
    assert method.stage.samplers == ("class_aware(per_class=2)",)


def test_the_teacher_stays_in_evaluation_mode():
    method = steps.begin(CASE, 2, norm="batch").train()
    assert not any(module.training for module in method.teacher.modules())
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    steps.loss_of(method, steps.training_batch(method))
    assert all(value.equal(before[name]) for name, value in method.teacher.state_dict().items())
