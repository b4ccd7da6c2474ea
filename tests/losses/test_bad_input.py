"""What losses answer to labels, counts and numbers that they cannot take."""

import pytest
import torch

from ltbench.classifiers import NearestClassMean
from ltbench.losses import (
    adaptive_class_suppression,
    arcface_logits,
    balanced_binary,
    balanced_softmax,
    binary,
    branch_loss,
    center_dispersion,
    class_balanced,
    class_bias,
    class_temperatures,
    cross_entropy,
    disc_centroids,
    distillation,
    distribution_balanced,
    diversity,
    ease_within_classes,
    effective_number_weights,
    equalization,
    expert_weight,
    focal,
    gradient_sums,
    group_softmax,
    influence_balanced,
    info_nce,
    inverse_counts,
    inverse_softmax,
    label_aware_smoothing,
    label_smoothing,
    lader,
    ldam,
    log_odds,
    log_prior,
    logit_adjustment,
    nested_groups,
    noise_resistant,
    one_vs_all_targets,
    paco,
    posthoc_adjustment,
    prior_rebalancing,
    prototype_contrast,
    rebalanced_weights,
    robal,
    robal_margins,
    seesaw,
    sigmoid_equalization,
    sigmoid_focal,
    size_groups,
    softmax_binary,
    supervised_contrast,
    vector_scaling,
    vs_loss,
)

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.5, 1.5, 0.0], [0.0, 0.3, 0.1]])
LABELS = torch.tensor([0, 1, 2])
COUNTS = torch.tensor([50, 5, 1])
WEIGHTS = torch.ones(3)
TARGETS = torch.eye(3).bool()

OF_LABELS = {
    "cross_entropy": lambda y: cross_entropy(LOGITS, y),
    "weighted": lambda y: cross_entropy(LOGITS, y, WEIGHTS),
    "balanced_softmax": lambda y: balanced_softmax(LOGITS, y, COUNTS),
    "balanced_binary": lambda y: balanced_binary(LOGITS, y, COUNTS),
    "logit_adjustment": lambda y: logit_adjustment(LOGITS, y, COUNTS),
    "inverse_softmax": lambda y: inverse_softmax(LOGITS, y, COUNTS),
    "focal": lambda y: focal(LOGITS, y),
    "softmax_binary": lambda y: softmax_binary(LOGITS, y, WEIGHTS),
    "sigmoid_focal": lambda y: sigmoid_focal(LOGITS, y),
    "softmax": lambda y: class_balanced(LOGITS, y, COUNTS),
    "sigmoid": lambda y: class_balanced(LOGITS, y, COUNTS, form="sigmoid"),
    "ldam": lambda y: ldam(LOGITS, y, COUNTS),
    "lader": lambda y: lader(LOGITS, y, COUNTS),
    "equalization": lambda y: equalization(LOGITS, y, COUNTS, torch.zeros(3, 3)),
    "smoothing": lambda y: label_aware_smoothing(LOGITS, y, torch.zeros(3)),
    "branches": lambda y: branch_loss(LOGITS[None], y, torch.ones(1, 3).bool()),
    "seesaw": lambda y: seesaw(LOGITS, y, COUNTS),
    "vs_loss": lambda y: vs_loss(LOGITS, y, COUNTS),
    "robal": lambda y: robal(LOGITS, y, COUNTS),
    "influence_balanced": lambda y: influence_balanced(LOGITS, y, LOGITS, WEIGHTS),
    "suppression": lambda y: adaptive_class_suppression(LOGITS, y),
    "sigmoid_equalization": lambda y: sigmoid_equalization(LOGITS, y, COUNTS, torch.zeros(3, 3)),
    "one_vs_all": lambda y: one_vs_all_targets(y, (3, 3)),
    "group_softmax": lambda y: group_softmax(LOGITS.repeat(1, 2), y, torch.arange(3)),
    "centroids": lambda y: disc_centroids(LOGITS, y, torch.zeros(3, 3)),
    "arcface": lambda y: arcface_logits(LOGITS, y),
    "prototypes": lambda y: prototype_contrast(LOGITS, LOGITS, y),
    "noise_resistant": lambda y: noise_resistant(LOGITS, y),
    "paco": lambda y: paco(LOGITS, y, LOGITS, LABELS, LABELS, COUNTS, alpha=1.0),
    "ease": lambda y: ease_within_classes(WEIGHTS, y, torch.zeros(3)),
    "class means": lambda y: NearestClassMean(3, 3).fit(LOGITS, y),
}
BAD_LABELS = {
    "ignored": (torch.tensor([0, -100, 2]), ValueError),
    "negative": (torch.tensor([0, -1, 2]), ValueError),
    "too large": (torch.tensor([0, 1, 3]), ValueError),
    "column": (LABELS[:, None], ValueError),
    "too few": (LABELS[:2], ValueError),
    "uint8": (LABELS.to(torch.uint8), TypeError),
    "int32": (LABELS.int(), TypeError),
    "float": (LABELS.float(), TypeError),
    "soft": (torch.eye(3), TypeError),
    "list": ([0, 1, 2], TypeError),
}

OF_COUNTS = {
    "balanced_softmax": lambda n: balanced_softmax(LOGITS, LABELS, n),
    "balanced_binary": lambda n: balanced_binary(LOGITS, LABELS, n),
    "logit_adjustment": lambda n: logit_adjustment(LOGITS, LABELS, n),
    "posthoc_adjustment": lambda n: posthoc_adjustment(LOGITS, n),
    "prior_rebalancing": lambda n: prior_rebalancing(LOGITS, n),
    "inverse_softmax": lambda n: inverse_softmax(LOGITS, LABELS, n),
    "class_balanced": lambda n: class_balanced(LOGITS, LABELS, n),
    "ldam": lambda n: ldam(LOGITS, LABELS, n),
    "lader": lambda n: lader(LOGITS, LABELS, n),
    "equalization": lambda n: equalization(LOGITS, LABELS, n, torch.zeros(3, 3)),
    "sigmoid_equalization": lambda n: sigmoid_equalization(LOGITS, LABELS, n, torch.zeros(3, 3)),
    "vs_loss": lambda n: vs_loss(LOGITS, LABELS, n),
    "robal": lambda n: robal(LOGITS, LABELS, n),
    "rebalanced_weights": lambda n: rebalanced_weights(TARGETS, n),
    "paco": lambda n: paco(LOGITS, LABELS, LOGITS, LABELS, LABELS, n, alpha=1.0),
}
OF_COUNTS_ALONE = {
    "log_prior": log_prior,
    "log_odds": log_odds,
    "log_prior_epsilon": lambda n: log_prior(n, epsilon=1e-9),
    "inverse_counts": inverse_counts,
    "weights": effective_number_weights,
    "temperatures": lambda n: class_temperatures(n, 0.5),
    "smoothing": lambda n: label_smoothing(n, 0.3, 0.0),
    "groups": lambda n: nested_groups(n, 0.3, 0.6),
    "size_groups": lambda n: size_groups(n, (10, 100)),
    "robal_margins": robal_margins,
    "class_bias": lambda n: class_bias(n, COUNTS.sum()),
}
NO_COUNTS = {
    "list": [50, 5, 1],
    "prior": COUNTS / COUNTS.sum(),
    "NaN": torch.tensor([50, torch.nan, 1]),
}


@pytest.mark.parametrize("bad", BAD_LABELS)
@pytest.mark.parametrize("name", OF_LABELS)
def test_labels_that_are_no_classes(name, bad):
    OF_LABELS[name](LABELS)
    labels, error = BAD_LABELS[bad]
    with pytest.raises(error, match=r"^labels: "):
        OF_LABELS[name](labels)


@pytest.mark.parametrize("bad", NO_COUNTS)
@pytest.mark.parametrize("name", [*OF_COUNTS, *OF_COUNTS_ALONE])
def test_counts_that_are_no_integers(name, bad):
    function = (OF_COUNTS | OF_COUNTS_ALONE)[name]
    function(COUNTS)
    with pytest.raises(TypeError, match=r"^counts: "):
        function(NO_COUNTS[bad])


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("name", OF_COUNTS)
def test_counts_of_another_number_of_classes(name, length):
    with pytest.raises(ValueError, match=r"^counts: "):
        OF_COUNTS[name](torch.full((length,), 7))


@pytest.mark.parametrize("counts", [[5, -1, 2], [0, 0, 0], [], [[5], [1], [2]], 5])
@pytest.mark.parametrize(
    "name", ["posthoc_adjustment", "paco", "log_prior_epsilon", "inverse_counts", "groups"]
)
def test_counts_that_are_no_numbers_of_images(name, counts):
    with pytest.raises(ValueError, match=r"^counts: "):
        (OF_COUNTS | OF_COUNTS_ALONE)[name](torch.tensor(counts, dtype=torch.int64))


@pytest.mark.parametrize(
    "name", ["logit_adjustment", "paco", "log_prior_epsilon", "inverse_counts", "groups"]
)
def test_some_functions_take_classes_without_images(name):
    assert (OF_COUNTS | OF_COUNTS_ALONE)[name](torch.tensor([50, 5, 0])).isfinite().all()


def test_inverse_softmax_names_the_class_without_images():
    with pytest.raises(ValueError, match=r"without training images: 2$"):
        inverse_softmax(LOGITS, LABELS, torch.tensor([50, 5, 0]))


@pytest.mark.parametrize("name", ["cross_entropy", "balanced_softmax", "focal", "smoothing"])
def test_an_empty_batch(name):
    calls = {
        "cross_entropy": lambda z, y: cross_entropy(z, y),
        "balanced_softmax": lambda z, y: balanced_softmax(z, y, COUNTS),
        "focal": lambda z, y: focal(z, y),
        "smoothing": lambda z, y: label_aware_smoothing(z, y, WEIGHTS),
    }
    with pytest.raises(ValueError, match=r"^labels: "):
        calls[name](LOGITS[:0], LABELS[:0])


@pytest.mark.parametrize(
    ("argument", "call"),
    {
        "beta": lambda: effective_number_weights(COUNTS, 1.0),
        "beta ": lambda: effective_number_weights(COUNTS, 1.5),
        "gamma": lambda: focal(LOGITS, LABELS, -1.0),
        "gamma ": lambda: sigmoid_focal(LOGITS, LABELS, float("nan")),
        "form": lambda: class_balanced(LOGITS, LABELS, COUNTS, form="softmx"),
        "shape": lambda: label_smoothing(COUNTS, 0.3, 0.0, "convx"),
        "head": lambda: label_smoothing(COUNTS, 3.0, 0.0),
        "labels ": lambda: supervised_contrast(LOGITS[None], LABELS[:2]),
        "embeddings ": lambda: supervised_contrast(LOGITS, LABELS),
        "temperature   ": lambda: supervised_contrast(LOGITS[None], LABELS, 0.0),
        "temperature    ": lambda: prototype_contrast(LOGITS, LOGITS, LABELS, -1.0),
        "prototypes": lambda: prototype_contrast(LOGITS, LOGITS[:, :2], LABELS),
        "counted ": lambda: info_nce(LOGITS, LOGITS, LOGITS, 1.0, torch.ones(3, 1).bool()),
        "margin": lambda: arcface_logits(LOGITS, LABELS, margin=4.0),
        "beta  ": lambda: noise_resistant(LOGITS, LABELS, 1.5),
        "labels": lambda: center_dispersion(LOGITS, LABELS[:2]),
        "embeddings": lambda: center_dispersion(LOGITS[0], LABELS),
        "temperature": lambda: distillation(LOGITS, LOGITS, 0.0),
        "temperature ": lambda: info_nce(LOGITS, LOGITS, LOGITS, -1.0),
        "temperature  ": lambda: diversity(LOGITS[None], torch.ones(2)),
        "spread": lambda: class_temperatures(COUNTS, 2.0),
        "decay_from": lambda: expert_weight(0.9, 0.8, 1.0),
        "teacher_logits": lambda: distillation(LOGITS, LOGITS[:1], 1.0),
        "positives": lambda: info_nce(LOGITS, LOGITS[:1], LOGITS, 1.0),
        "weights": lambda: cross_entropy(LOGITS, LABELS, torch.ones(4)),
        "weights ": lambda: focal(LOGITS, LABELS, weights=torch.ones(4)),
        "uniform": lambda: equalization(LOGITS, LABELS, COUNTS, torch.zeros(3, 1)),
        "smoothing": lambda: label_aware_smoothing(LOGITS, LABELS, torch.zeros(4)),
        "groups": lambda: branch_loss(LOGITS[None], LABELS, torch.ones(2, 3).bool()),
        "groups ": lambda: group_softmax(LOGITS, LABELS, torch.zeros(3, 1)),
        "seen": lambda: seesaw(LOGITS, LABELS, torch.ones(1)),
        "features  ": lambda: influence_balanced(LOGITS, LABELS, LOGITS[:1], WEIGHTS),
        "weights    ": lambda: influence_balanced(LOGITS, LABELS, LOGITS, torch.ones(3, 1)),
        "temperatures": lambda: vector_scaling(LOGITS, LABELS, temperatures=torch.ones(1)),
        "margins": lambda: vector_scaling(LOGITS, LABELS, margins=torch.ones(3, 1)),
        "offsets": lambda: vector_scaling(LOGITS, LABELS, offsets=torch.ones(1)),
        "bias": lambda: distribution_balanced(LOGITS, TARGETS, torch.ones(1), LOGITS),
        "weights     ": lambda: distribution_balanced(LOGITS, TARGETS, WEIGHTS, WEIGHTS),
        "weights      ": lambda: gradient_sums(LOGITS, TARGETS, WEIGHTS),
        "sample_weights": lambda: binary(LOGITS, TARGETS, sample_weights=torch.ones(3, 1)),
        "uniform ": lambda: sigmoid_equalization(LOGITS, LABELS, COUNTS, torch.zeros(3, 1)),
        "counted": lambda: group_softmax(
            LOGITS.repeat(1, 2), LABELS, torch.arange(3), torch.ones(3, 1).bool()
        ),
        "positions": lambda: paco(LOGITS, LABELS, LOGITS, LABELS, LABELS + 1, COUNTS, alpha=1.0),
        "contrast_labels": lambda: paco(
            LOGITS, LABELS, LOGITS, LABELS[:, None], LABELS, COUNTS, alpha=1.0
        ),
        "centroids": lambda: disc_centroids(LOGITS, LABELS, torch.zeros(3, 1)),
        "medium_from": lambda: nested_groups(COUNTS, -0.1, 0.6),
        "few_from": lambda: nested_groups(COUNTS, 0.6, 0.3),
        "few_from ": lambda: nested_groups(COUNTS, 0.6, 60),
        "weights  ": lambda: ldam(LOGITS, LABELS, COUNTS, weights=torch.ones(1)),
        "target_prior": lambda: prior_rebalancing(LOGITS, COUNTS, 1.0, torch.ones(1)),
        "target_prior ": lambda: prior_rebalancing(LOGITS, COUNTS, 1.0, torch.ones(3)),
        "target_prior  ": lambda: prior_rebalancing(LOGITS, COUNTS, 1.0, WEIGHTS * torch.nan),
        "target_prior   ": lambda: prior_rebalancing(
            LOGITS, COUNTS, 1.0, torch.tensor([1.5, -0.5, 0.0])
        ),
        "logits": lambda: diversity(LOGITS, torch.tensor(1.0)),
        "features": lambda: NearestClassMean(3, 3, features="l2"),
        "logits ": lambda: branch_loss(LOGITS, LABELS, torch.ones(3, 3).bool()),
        "logits  ": lambda: cross_entropy(LOGITS[None], LABELS),
        "logits   ": lambda: distillation(LOGITS[:0], LOGITS[:0], 1.0),
        "logits    ": lambda: diversity(LOGITS[None, :0], torch.tensor(1.0)),
        "epsilon": lambda: log_prior(COUNTS, epsilon=-1.0),
        "distance": lambda: NearestClassMean(3, 3, distance="l1"),
        "features ": lambda: NearestClassMean(3, 3).fit(LOGITS[:, :1], LABELS),
    }.items(),
)
def test_other_arguments_are_named(argument, call):
    with pytest.raises(ValueError, match=f"^{argument.strip()}: "):
        call()


def test_a_step_does_not_wait_for_values_on_an_accelerator():
    logits, labels, counts = (each.to("meta") for each in (LOGITS, LABELS, COUNTS))
    for loss in (balanced_softmax, logit_adjustment, class_balanced, ldam):
        assert loss(logits, labels, counts).is_meta
    assert cross_entropy(logits, labels, counts.float()).is_meta
    with pytest.raises(TypeError, match=r"^labels: "):
        cross_entropy(logits, labels.int())
    with pytest.raises(ValueError, match=r"^counts: "):
        balanced_softmax(logits, labels, counts[:1])


def test_groups_of_int32_counts():
    assert nested_groups(COUNTS.int(), 0.4, 0.7).equal(nested_groups(COUNTS, 0.4, 0.7))


def test_branches_in_half_precision_have_a_finite_gradient():
    logits = torch.tensor([[[20.0, -20.0, 0.0]]], dtype=torch.float16, requires_grad=True)
    branch_loss(logits, torch.tensor([1]), torch.ones(1, 3).bool()).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("distance", ["l2", "cos"])
def test_class_means_take_features_in_half_precision(distance):
    classifier = NearestClassMean(3, 3, distance=distance)
    classifier.fit(LOGITS.half(), LABELS)
    expected = classifier(LOGITS.half().float())
    assert classifier(LOGITS.half()).equal(expected)
    torch.testing.assert_close(classifier.half()(LOGITS.half()), expected, rtol=0.01, atol=0.01)
