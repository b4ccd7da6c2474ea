"""ISDA's logits: limits, and the bound that they are."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import isda_logits

LABELS = torch.tensor([0, 2, 1, 2])


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    roots = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64) / 3
    return features, weight, roots @ roots.mT


def test_the_label_keeps_its_logit_and_others_gain(given):
    features, weight, covariances = given
    logits = features @ weight.T
    for variances in (covariances, covariances.diagonal(dim1=1, dim2=2)):
        gain = isda_logits(logits, LABELS, weight, variances, 0.5) - logits
        assert gain.gather(1, LABELS[:, None]).abs().max() == 0
        assert (gain > 0).sum() == 8
        assert isda_logits(logits, LABELS, weight, variances, 0.0).equal(logits)


def test_variances_are_covariances_without_the_rest(given):
    features, weight, covariances = given
    variances = covariances.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(
        isda_logits(features @ weight.T, LABELS, weight, variances, 0.5),
        isda_logits(features @ weight.T, LABELS, weight, torch.diag_embed(variances), 0.5),
    )


def test_it_bounds_the_loss_of_features_with_noise(given):
    features, weight, covariances = given
    generator, strength = torch.Generator().manual_seed(1), 0.5
    noise = torch.randn(20_000, 4, 5, 1, generator=generator, dtype=torch.float64)
    roots = torch.linalg.cholesky(strength * covariances)[LABELS]
    spread = (features + (roots @ noise).squeeze(3)) @ weight.T
    mean = F.cross_entropy(spread.flatten(0, 1), LABELS.repeat(len(noise)), reduction="none")
    bound = F.cross_entropy(
        isda_logits(features @ weight.T, LABELS, weight, covariances, strength),
        LABELS,
        reduction="none",
    )
    mean = mean.view(-1, 4).mean(0)
    assert (mean < bound).all()
    assert (bound - mean < 0.3 * bound).all()


def test_half_precision_is_not_used(given):
    features, weight, covariances = (value.float() for value in given)
    logits = (features @ weight.T).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = isda_logits(logits, LABELS, weight, covariances.double(), 0.5)
    assert found.equal(isda_logits(logits.float(), LABELS, weight, covariances, 0.5))


def test_shapes_are_checked(given):
    features, weight, covariances = given
    with pytest.raises(ValueError, match="variances"):
        isda_logits(features @ weight.T, LABELS, weight, covariances[:2], 0.5)
    with pytest.raises(ValueError, match="weight"):
        isda_logits(features @ weight.T, LABELS, weight[:2], covariances, 0.5)
