import pytest
import torch
import torch.nn.functional as F

from ltbench.classifiers import MetaEmbedding
from ltbench.losses import disc_centroids
from ltbench.networks.modulated_attention import ModulatedAttention

EXACT = {"rtol": 1e-8, "atol": 1e-10}


def gradients_agree(oracle, gradient, name):
    rtol = 1e-5 if oracle.own[name].dtype == "float32" else 1e-8
    torch.testing.assert_close(gradient, oracle[name], rtol=rtol, atol=1e-9)


@pytest.mark.oracle("oltr", has=["meta_logits"])
def test_meta_embedding(oracle):
    classes, width = oracle["centroids"].shape
    classifier = MetaEmbedding(width, classes).double()
    theirs = {"hallucinator": "fc_hallucinator", "selector": "fc_selector"}
    state = {
        f"{ours}.{part}": oracle[f"meta_{name}_{part}"]
        for ours, name in theirs.items()
        for part in ("weight", "bias")
    }
    state["cosine.weight"] = oracle["meta_cosnorm_classifier_weight"]
    classifier.load_state_dict(state | {"centroids": oracle["centroids"]})
    features = oracle["feats"].requires_grad_()
    logits = classifier(features)
    loss = F.cross_entropy(logits, oracle["labels"].long())
    torch.testing.assert_close(logits, oracle["meta_logits"], **EXACT)
    torch.testing.assert_close(loss, oracle["meta_ce"], **EXACT)
    gradients_agree(oracle, torch.autograd.grad(loss, features)[0], "meta_grad_feats")


@pytest.mark.oracle("oltr", has=["disc_centroids_loss"])
def test_disc_centroids(oracle):
    features = oracle["feats"].requires_grad_()
    centroids = oracle["centroids"].requires_grad_()
    loss = disc_centroids(features, oracle["labels"].long(), centroids)
    gradients = torch.autograd.grad(loss, [features, centroids])
    torch.testing.assert_close(loss, oracle["disc_centroids_loss"], **EXACT)
    for gradient, name in zip(gradients, ("grad_feats", "grad_centroids"), strict=True):
        gradients_agree(oracle, gradient, name)


@pytest.mark.oracle("oltr", has=["att_out"])
def test_modulated_attention(oracle):
    maps = oracle["att_x"]
    attention = ModulatedAttention(maps.shape[1]).double()
    state = {name: oracle[f"att_{name.replace('.', '_')}"] for name in attention.state_dict()}
    attention.load_state_dict(state)
    torch.testing.assert_close(attention.mask(maps), oracle["att_mask"], **EXACT)
    torch.testing.assert_close(attention.spatial(maps)[:, 0], oracle["att_spatial"], **EXACT)
    torch.testing.assert_close(attention(maps), oracle["att_out"], **EXACT)


@pytest.mark.parametrize("size", [2, 7, 8])
def test_attention_begins_as_the_identity_on_maps_of_any_size(size):
    maps = torch.randn(3, 4, size, size)
    assert ModulatedAttention(4)(maps).equal(maps)


def test_features_of_the_classifier_do_not_move_the_centroids():
    classifier = MetaEmbedding(5, 3)
    classifier.centroids.data.normal_()
    classifier(torch.randn(2, 5)).sum().backward()
    assert classifier.centroids.grad is None
    assert classifier.hallucinator.weight.grad.any()


def test_a_feature_on_a_centroid_has_finite_logits():
    classifier = MetaEmbedding(5, 3)
    features = torch.randn(2, 5, requires_grad=True)
    classifier.centroids.data[:2] = features.detach()
    logits = classifier(features)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert features.grad.isfinite().all()
