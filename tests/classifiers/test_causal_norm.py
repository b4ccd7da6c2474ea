import pytest
import torch
import torch.nn.functional as F

from ltbench.classifiers import CausalNormClassifier

EXACT = {"rtol": 1e-6, "atol": 1e-9}


def build(oracle):
    h, (classes, width) = oracle.hparams, oracle["weight"].shape
    classifier = CausalNormClassifier(width, classes, h["num_head"], h["tau"], h["gamma"]).double()
    classifier.load_state_dict({"weight": oracle["weight"]})
    return classifier


@pytest.mark.oracle("causal_tde", variants=["train"])
def test_training(oracle):
    classifier = build(oracle)
    features = oracle["train_feature_batches"][0].requires_grad_()
    logits = classifier(features)
    loss = F.cross_entropy(logits, oracle["labels"])
    gradients = torch.autograd.grad(loss, [features, classifier.weight])
    torch.testing.assert_close(logits, oracle["logits_batch0"], **EXACT)
    torch.testing.assert_close(loss, oracle["ce_loss"], **EXACT)
    torch.testing.assert_close(gradients[0], oracle["grad_features"], **EXACT)
    torch.testing.assert_close(gradients[1], oracle["grad_weight"], **EXACT)


@pytest.mark.oracle("causal_tde", has=["tde_logits"])
def test_direct_effect(oracle):
    classifier, features = build(oracle), oracle["test_features"]
    mean = oracle["embed_mean_after_each_batch"][-1]
    tde = classifier.direct_effect(features, mean, oracle.hparams["alpha"])
    torch.testing.assert_close(tde, oracle["tde_logits"], **EXACT)
    torch.testing.assert_close(classifier(features), oracle["plain_eval_logits"], **EXACT)
    torch.testing.assert_close(
        classifier.direct_effect(features, 0 * mean, 3.0), classifier(features)
    )
    longer = classifier.direct_effect(features, 5 * mean, oracle.hparams["alpha"])
    torch.testing.assert_close(longer, tde)


def test_heads_share_features_evenly():
    with pytest.raises(ValueError, match="16 features are not divisible by 3"):
        CausalNormClassifier(16, 4, heads=3)
