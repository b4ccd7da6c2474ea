"""PML: the authors' class statistics, and margins of one standard deviation."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses.vector_scaling import vector_scaling
from ltbench.methods.rebalancing.progressive_margin import (
    ClassVariations,
    MarginNetwork,
    distances,
    standardized,
)
from ltbench.testing import steps
from ltbench.testing.jobs import Case
from tests.losses.test_loss_oracles import EXACT

CASE = Case("progressive_margin")
TOY = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.oracle("pml_partial", has=["margin_l"])
def test_class_statistics(oracle):
    """The one case: centers, counts and variations after its images; `out` has the results."""
    statistics = ClassVariations(*oracle["prototypes"].shape)
    statistics.load_state_dict(
        {
            "seen": oracle["proto_counts"],
            "centers": oracle["prototypes"],
            "within": oracle["intra"][:, 0],
        }
    )
    statistics.update(oracle["features"], oracle["age"])
    close(statistics.centers, oracle["out/prototypes"])
    close(statistics.seen, oracle["out/proto_counts"])
    close(statistics.within, oracle["out/intra"][:, 0])

    lengths = statistics.centers.norm(dim=1)
    products = (1 - statistics.between()[:4]) * lengths / lengths[:4, None]  # by the first length
    close((1 - products).clamp(0, 2), oracle["out/inter_first4rows"])


@pytest.mark.oracle("pml_partial", has=["margin_l"])
def test_probabilities(oracle):
    """The one case, with the ordinal margins that are left out here added to ours."""
    values = oracle["out/m_p"] + 0.1 * oracle["margin_l"]
    logits = oracle["features"] @ oracle["fc_weight"].T
    close((logits - standardized(values, 0.01)).softmax(dim=1), oracle["out/prob"])


def test_statistics_are_those_of_one_image_after_the_other():
    features = torch.randn(7, 3, dtype=torch.float64)
    labels = torch.tensor([1, 0, 1, 1, 3, 0, 1])
    whole, single = ClassVariations(4, 3), ClassVariations(4, 3)
    for part in (slice(0, 4), slice(4, 7)):
        whole.update(features[part], labels[part])
    for feature, label in zip(features, labels, strict=True):
        before = single.centers[label].clone()
        single.centers[label] += (feature - before) / (single.seen[label] + 1)
        single.within[label] += distances(feature, before) * distances(
            feature, single.centers[label]
        )
        single.seen[label] += 1
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, single.state_dict()[name])
    whole.reset()
    assert not any(buffer.any() for buffer in whole.buffers())


def test_rows_of_many_classes_are_short():
    assert ClassVariations(5, 3).rows().shape == (5, 3 + 1 + 5)
    assert ClassVariations(1000, 3).rows().shape == (1000, 3 + 2)


def test_margins_and_their_gradient():
    values = torch.tensor([0.5, -0.2, 0.3], dtype=torch.float64).requires_grad_()
    margins = standardized(values, 0.01)
    assert margins.tolist() == pytest.approx([0.0083205, -0.0110940, 0.0027735], abs=5e-8)
    torch.testing.assert_close(standardized(3 * values + 1, 0.01), margins)
    for label, expected in enumerate([0.41289047, 1.39347596, 2.40734347]):
        label = torch.tensor([label])
        logits = TOY.clone().requires_grad_()

        def loss(values, logits, label=label):
            return vector_scaling(logits, label, offsets=-standardized(values, 0.01))

        assert float(loss(values, logits).detach()) == pytest.approx(expected, abs=5e-9)
        assert torch.autograd.gradcheck(loss, (values, logits))


def test_equal_values_have_no_margins_and_a_finite_gradient():
    values = torch.ones(4, requires_grad=True)
    margins = standardized(values, 0.01)
    assert margins.tolist() == [0, 0, 0, 0]
    (gradient,) = torch.autograd.grad(margins[0], values)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_network_of_margins_has_a_value_of_each_class(norm):
    assert MarginNetwork(5, norm)(torch.randn(5, 64 + 1 + 5)).shape == (5,)


def test_a_step_has_the_margins_of_its_change():
    method = steps.begin(CASE).double()
    batch = steps.training_batch(method)
    steps.begin_epoch(method)
    method.training_loss(batch)
    before = method.variations.rows()
    found = method.training_loss(batch)
    change = method.variations.rows() - before
    margins = method.margins(change)
    margins = 0.01 * (margins - margins.mean()) / margins.std()
    expected = F.cross_entropy(method.network(batch.images) - margins, batch.labels)
    torch.testing.assert_close(found, expected)
    assert margins.abs().min() > 0
    found.backward()
    assert method.margins.linear.weight.grad.any()
    steps.begin_epoch(method, 1)
    assert not method.variations.seen.any()
