import pytest
import torch
import torch.nn.functional as F

from ltbench.classifiers import (
    CosineClassifier,
    LearnableScale,
    NearestClassMean,
    TauNormalized,
    linear,
    one_vs_all,
    reset_linear,
    tau_normalized,
)

EXACT = {"rtol": 1e-6, "atol": 1e-9}


def check(oracle, classifier, parameters):
    """Compare logits, cross-entropy and gradients; `parameters`: ours by the file's name."""
    features = oracle["features"].requires_grad_()
    logits = classifier(features)
    loss = F.cross_entropy(logits, oracle["labels"])
    gradients = torch.autograd.grad(loss, [features, *parameters.values()])
    torch.testing.assert_close(logits, oracle["logits"], **EXACT)
    torch.testing.assert_close(loss, oracle["ce_loss"], **EXACT)
    for name, gradient in zip(["features", *parameters], gradients, strict=True):
        expected = oracle[f"grad_{name}"]
        if expected.shape != gradient.shape:  # kept as [D, C] or [1, C] there
            expected = expected.T.reshape(gradient.shape)
        torch.testing.assert_close(gradient, expected, **EXACT)


@pytest.mark.oracle("classifiers", variants=["normed_linear_ldam", "fcnorm_bagoftricks"])
def test_cosine(oracle):
    classes, width = oracle["weight"].shape
    classifier = CosineClassifier(width, classes).double()
    classifier.load_state_dict({"weight": oracle["weight"]})
    check(oracle, classifier, {"weight": classifier.weight})


@pytest.mark.oracle("classifiers", variants=["cosnorm_oltr", "cos_robal"])
def test_scaled_cosine(oracle):
    classes, width = oracle["weight"].shape
    squash = "squash" in oracle.hparams.get("note", "")
    scale = oracle.hparams["scale"]
    classifier = CosineClassifier(width, classes, scale, squash=squash).double()
    classifier.load_state_dict({"weight": oracle["weight"]})
    check(oracle, classifier, {"weight": classifier.weight})


def test_cosines_of_fitted_images_are_exact_and_have_a_gradient_under_autocast():
    torch.manual_seed(0)
    classifier = CosineClassifier(128, 10, 30.0)
    features = (classifier.weight + 0.005 * torch.randn(10, 128)).detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        cosines = classifier.cosines(features)
        rounded = classifier(features) / 30
    exact = classifier.double()(features.double()) / 30
    torch.testing.assert_close(cosines.double(), exact, rtol=0, atol=1e-6)
    assert (cosines.diagonal() < 1).all()
    assert (rounded.diagonal() == 1).any()
    assert (torch.autograd.grad(cosines.diagonal().acos().sum(), features)[0] != 0).any(dim=1).all()


@pytest.mark.oracle("classifiers", variants=["lws"])
def test_learnable_scale(oracle):
    classes, width = oracle["weight"].shape
    classifier = LearnableScale(width, classes).double()
    trained = {"weight": oracle["weight"], "bias": oracle["bias"], "scale": oracle["scales"]}
    classifier.load_state_dict(trained)
    names = {"scales": "scale", "l.learned_norm": "scale", "fc.weight": "weight", "fc.bias": "bias"}
    stored = {
        theirs: getattr(classifier, ours)
        for theirs, ours in names.items()
        if f"grad_{theirs}" in oracle.own
    }
    assert stored
    check(oracle, classifier, stored)


@pytest.mark.oracle("classifiers", variants=["tau_norm"])
def test_tau_norm(oracle):
    """The file names tau only: it is solved for from one class."""
    weight, expected = torch.from_numpy(oracle.case["weight"]).double(), oracle["weight"]
    norms = weight.norm(dim=1)
    row = int((norms.log().abs()).argmax())
    tau = 1 - float(expected[row].norm().log() / norms[row].log())
    normalized = tau_normalized(weight, tau)
    torch.testing.assert_close(normalized, expected, **EXACT)
    torch.testing.assert_close(oracle["features"] @ normalized.T, oracle["logits"], **EXACT)
    classifier = TauNormalized(*reversed(weight.shape)).double()
    classifier.load_state_dict({"weight": weight, "tau": torch.tensor(tau)})
    torch.testing.assert_close(classifier(oracle["features"]), oracle["logits"], **EXACT)


def test_tau_norm_is_differentiable_in_tau():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    tau = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tau_normalized, (weight, tau))


def test_tau_norm_limits():
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert tau_normalized(weight, 0.0).equal(weight)
    torch.testing.assert_close(tau_normalized(weight, 1.0).norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("tau", [0.0, 0.7, 1.0, 2.0])
def test_tau_norm_leaves_rows_of_zeros(tau):
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    power = torch.tensor(tau, requires_grad=True)
    normalized = tau_normalized(weight, power)
    torch.testing.assert_close(normalized, weight / torch.tensor([[5.0**tau], [1.0]]))
    gradients = torch.autograd.grad(normalized.sum(), [weight, power])
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.oracle("ncm", has=["logits", "pred"])
def test_nearest_class_mean(oracle):
    kind, distance = oracle.id.split("-")[-1].split("_")
    centroids = oracle[f"centroids_{kind}"]
    classes, width = centroids.shape
    classifier = NearestClassMean(width, classes, kind, distance).double()
    classifier.fit(oracle["train_features"], oracle["train_labels"])
    logits = classifier(oracle["test_features"])
    torch.testing.assert_close(classifier.mean, oracle["mean"], **EXACT)
    torch.testing.assert_close(classifier.centroids, centroids, **EXACT)
    torch.testing.assert_close(logits, oracle["logits"], **EXACT)
    assert logits.argmax(dim=1).equal(oracle["pred"])


def test_class_means_of_many_images_are_summed_in_double_precision():
    generator = torch.Generator().manual_seed(0)
    features = 100 + torch.rand(200_000, 1, generator=generator)
    classifier = NearestClassMean(1, 1, "un")
    classifier.fit(features, torch.zeros(len(features), dtype=torch.int64))
    assert classifier.centroids.equal(features.double().mean(dim=0, keepdim=True).float())


def test_nearest_class_mean_names_classes_without_features():
    with pytest.raises(ValueError, match="without features: 1, 3"):
        NearestClassMean(2, 4).fit(torch.randn(3, 2), torch.tensor([0, 2, 2]))


def test_linear_weights_load_into_learnable_scale_which_begins_at_one():
    plain, scaled = linear(6, 4), LearnableScale(6, 4)
    missing = scaled.load_state_dict(plain.state_dict(), strict=False).missing_keys
    features = torch.randn(3, 6)
    assert missing == ["scale"]
    assert scaled(features).equal(plain(features))


def test_linear_begins_with_zero_bias_and_resets_from_the_default_generator():
    torch.manual_seed(3)
    classifier = linear(6, 4)
    first = classifier.weight.detach().clone()
    classifier.bias.data.fill_(1.0)
    reset_linear(classifier)
    assert not classifier.weight.equal(first)
    assert not classifier.bias.any()
    torch.manual_seed(3)
    reset_linear(classifier)
    assert classifier.weight.equal(first)


@pytest.mark.parametrize("classes", [2, 3, 100])
def test_one_vs_all_begins_at_one_of_c(classes):
    probabilities = one_vs_all(6, classes)(torch.zeros(1, 6)).sigmoid()
    torch.testing.assert_close(probabilities, torch.full((1, classes), 1 / classes))


def test_cosines_do_not_depend_on_lengths():
    classifier = CosineClassifier(6, 4)
    features = torch.randn(3, 6)
    cosines = classifier(features)
    assert (cosines.abs() <= 1 + 1e-6).all()
    torch.testing.assert_close(classifier.weight.norm(dim=1), torch.ones(4))
    classifier.weight.data.mul_(5.0)
    torch.testing.assert_close(classifier(9 * features), cosines)
