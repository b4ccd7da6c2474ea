"""DisAlign's classifier against the authors' numbers, and how it starts."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.classifiers import AlignedClassifier, linear
from ltbench.losses import cost_sensitive_weights, cross_entropy
from tests.losses.test_loss_oracles import EXACT


@pytest.mark.oracle("disalign", has=["logits_after"])
def test_aligned_classifier(oracle):
    """With the paper's form the file has plain cross-entropy."""
    rho = oracle.hparams.get("exp_scale")
    form = "paper" if rho is None else "classification"
    classes, width = oracle["weight"].shape
    classifier = AlignedClassifier(width, classes, form).double()
    classifier.load_state_dict(
        {
            "weight": oracle["weight"],
            "bias": oracle["bias"],
            "scale": oracle["logit_scale"].flatten(),
            "offset": oracle["logit_bias"].flatten(),
            "confidence.weight": oracle["conf_weight"],
            "confidence.bias": oracle["conf_bias"],
        }
    )
    logits = classifier(oracle["features"])
    torch.testing.assert_close(logits, oracle["logits_after"], **EXACT)

    weights = None if rho is None else cost_sensitive_weights(oracle["counts"], rho)
    loss = cross_entropy(logits, oracle["labels"], weights)
    torch.testing.assert_close(loss, oracle["ce_loss" if rho is None else "loss"], **EXACT)
    loss.backward()
    for name, parameter in (
        ("logit_scale", classifier.scale),
        ("logit_bias", classifier.offset),
        ("conf_weight", classifier.confidence.weight),
        ("conf_bias", classifier.confidence.bias),
    ):
        expected = oracle[f"grad_{name}"].view_as(parameter)
        torch.testing.assert_close(parameter.grad, expected, **EXACT)


@pytest.mark.oracle("disalign", has=["grw_weights"])
def test_weights_are_the_authors_up_to_a_factor(oracle):
    weights = cost_sensitive_weights(oracle["counts"], oracle.hparams["exp_scale"])
    scaled = weights * (len(weights) / weights.sum())
    torch.testing.assert_close(scaled, oracle["grw_weights"], **EXACT)


@pytest.mark.oracle("disalign", has=["init_logit_scale"])
def test_the_authors_start(oracle):
    classifier = AlignedClassifier(3, 3)
    assert classifier.scale.tolist() == oracle["init_logit_scale"].tolist()
    expected = oracle["init_conf_weight"].float()
    torch.testing.assert_close(classifier.confidence.weight.flatten(), expected)
    assert not classifier.offset.any()


def test_it_starts_at_identity_or_at_a_factor():
    plain, features = linear(6, 4), torch.randn(5, 6)
    logits = plain(features)
    for form in ("paper", "classification"):
        aligned = AlignedClassifier(6, 4, form)
        aligned.load_state_dict(plain.state_dict(), strict=False)
        found = aligned(features)
        confidence = aligned.confidence(features).sigmoid()
        factor = 1.0 if form == "paper" else 1 + confidence
        torch.testing.assert_close(found, factor * logits)
        assert found.argmax(1).equal(logits.argmax(1))


def test_an_image_without_confidence_is_left_as_it_is():
    features = torch.randn(5, 6)
    for form in ("paper", "classification"):
        aligned = AlignedClassifier(6, 4, form)
        torch.nn.init.normal_(aligned.scale)
        torch.nn.init.normal_(aligned.offset)
        torch.nn.init.constant_(aligned.confidence.bias, -1e9)
        assert aligned(features).equal(F.linear(features, aligned.weight, aligned.bias))
