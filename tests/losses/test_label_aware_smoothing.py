import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import label_aware_smoothing, label_smoothing

EXACT = {"rtol": 1e-6, "atol": 1e-9}
COUNTS = torch.tensor([500, 200, 90, 41, 17, 6, 1])


@pytest.mark.oracle("label_aware_smoothing", has=["loss"])
def test_the_authors_numbers(oracle):
    h = oracle.hparams
    smoothing = label_smoothing(oracle["counts"], h["smooth_head"], h["smooth_tail"], h["shape"])
    torch.testing.assert_close(smoothing, oracle["smooth"], **EXACT)
    logits = oracle["logits"].requires_grad_()
    loss = label_aware_smoothing(logits, oracle["labels"], smoothing)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["grad_logits"], **EXACT)


@pytest.mark.parametrize("shape", ["concave", "linear", "convex", "exp"])
def test_smoothing_falls_from_head_to_tail(shape):
    smoothing = label_smoothing(COUNTS, 0.4, 0.1, shape)
    assert smoothing[0] == pytest.approx(0.4)
    assert smoothing[-1] == pytest.approx(0.1)
    assert (smoothing.diff() < 0).all()


def test_shapes_bend_as_they_are_called():
    concave, linear, convex = (
        label_smoothing(COUNTS, 0.4, 0.1, shape)[1:-1] for shape in ("concave", "linear", "convex")
    )
    assert (concave > linear).all()
    assert (linear > convex).all()


def test_exp_is_a_power_between_tail_and_head():
    """As in the authors' code; their numbers in the oracle file are of the other shapes."""
    counts = torch.tensor([101, 51, 26, 1])
    smoothing = label_smoothing(counts, 0.4, 0.1, "exp", 2.0)
    assert smoothing.tolist() == pytest.approx([0.4, 0.1 + 0.3 / 4, 0.1 + 0.3 / 16, 0.1])
    assert label_smoothing(COUNTS, 0.4, 0.1, "exp").equal(
        label_smoothing(COUNTS, 0.4, 0.1, "linear")
    )


def test_equal_counts_are_smoothed_as_the_head_which_is_torchs_label_smoothing():
    logits, labels = torch.randn(9, 7), torch.arange(9) % 7
    smoothing = label_smoothing(torch.full((7,), 12), 0.3, 0.0)
    torch.testing.assert_close(
        label_aware_smoothing(logits, labels, smoothing),
        F.cross_entropy(logits, labels, label_smoothing=0.3),
    )


def test_a_class_without_images_is_named():
    with pytest.raises(ValueError, match="without training images: 1"):
        label_smoothing(torch.tensor([5, 0, 2]), 0.3, 0.0)
