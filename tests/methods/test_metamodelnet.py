"""MetaModelNet: the chain of blocks, the fits of classifiers, and which classes move."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.methods import METHODS
from ltbench.methods.augmentation import metamodelnet
from ltbench.methods.augmentation.metamodelnet import (
    Chain,
    entry_blocks,
    few_images,
    fitted_rows,
    number_of_blocks,
    replaced_row_loss,
)
from ltbench.methods.contract import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case

SHORT = {"most_steps": 20, "fit_steps": 20, "draws": 3}
COUNTS = (300, 200, 150, 40, 9, 3)


def nothing():
    return None


def chain(blocks, width=3, seed=0):
    """Return a chain that is not the identity, in evaluation mode."""
    torch.manual_seed(seed)
    found = Chain(width, blocks).double()
    for block in found.blocks:
        torch.nn.init.normal_(block[-1].weight)
    return found.eval()


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_a_class_enters_the_block_of_its_number_of_images():
    counts = torch.tensor([1, 2, 3, 4, 7, 8, 20, 64, 2**30 - 1])
    assert entry_blocks(counts).tolist() == [0, 1, 1, 2, 2, 3, 4, 6, 29]


@pytest.mark.parametrize(
    ("counts", "blocks"),
    [
        ([int(500 * 0.01 ** (k / 99)) for k in range(100)], 7),  # CIFAR-100-LT: 1 to 64 images
        ([5000, 2000, 1000, 500, 50], 7),
        ([127, 110, 90, 3], 6),
        ([40, 12, 5, 2], 5),
        ([30, 30, 30], 4),
        ([3, 2, 1], 1),
        ([1, 1], 0),
    ],
)
def test_half_of_the_large_classes_have_more_images_than_the_last_block(counts, blocks):
    assert number_of_blocks(torch.tensor(counts)) == blocks


def test_the_chain_begins_as_the_identity():
    rows, target = normal(1, 2), torch.tensor([[1.5, 1.5]]).double()
    rows[0] = torch.tensor([1.0, 2.0])
    found = Chain(2, 3).double().eval()(rows).detach()
    assert found.equal(rows)
    assert float((found - target).square().sum()) == 0.5


def test_each_block_goes_before_the_later_ones():
    whole = chain(3)
    rows = normal(5, 3)
    assert not whole(rows).allclose(rows)
    first = rows + whole.blocks[0](rows)
    torch.testing.assert_close(whole(rows, rows[:0], rows[:0]), whole(first, rows[:0]))
    torch.testing.assert_close(whole(first), first + whole.blocks[2](first))
    together = whole(rows[:2], rows[2:3], rows[3:])
    apart = [whole(rows[:2], rows[:0], rows[:0]), whole(rows[2:3], rows[:0]), whole(rows[3:])]
    torch.testing.assert_close(together, torch.cat(apart))
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(whole(rows[order]), whole(rows)[order])
    none = rows[:0]
    assert whole(none, none, none).shape == (0, 3)


def test_draws_have_few_images_of_each_class():
    labels = torch.arange(4).repeat_interleave(torch.tensor([50, 9, 4, 1]))
    labels = labels[torch.randperm(64, generator=torch.Generator().manual_seed(1))]
    drawn = few_images(labels, 200, 4, torch.Generator().manual_seed(0))
    assert drawn.shape == (200, 4 + 4 + 4 + 1)
    for each in drawn:
        assert labels[each].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3]
        assert len(each.unique()) == 13
    uses = torch.bincount(drawn.flatten(), minlength=64)[labels == 0]
    assert uses.min() > 0
    assert float(uses.double().mean()) == 16


def loss_of(rows, features, labels, decay):
    return F.cross_entropy(features @ rows.T, labels) + decay / 2 * rows.square().sum()


@pytest.mark.parametrize("numbers", [2**26, 40])
def test_fits_are_the_minimum_of_the_loss(numbers, monkeypatch):
    monkeypatch.setattr(metamodelnet, "MOST_NUMBERS", numbers)
    features, labels = 2 * normal(2, 30, 5).abs(), torch.arange(60).view(2, 30) % 4
    beats = []
    rows = fitted_rows(features, labels, 4, 2000, 0.01, lambda: beats.append(1))
    assert len(beats) == 2000
    for one, some, theirs in zip(rows, features, labels, strict=True):
        one.requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(one, some, theirs, 0.01), one)
        assert gradient.abs().max() < 1e-9
    few = fitted_rows(features, labels, 4, 5, 0.01, nothing)
    order = torch.tensor([2, 0, 3, 1])
    moved = fitted_rows(features, order[labels], 4, 5, 0.01, nothing)
    torch.testing.assert_close(moved[:, order], few)
    torch.testing.assert_close(
        fitted_rows(1e4 * features, labels, 4, 5, 1e-9, nothing) * 1e4,
        fitted_rows(features, labels, 4, 5, 1e-17, nothing),
    )


def test_the_loss_with_one_row_replaced_and_its_gradient():
    weight, features, labels = normal(4, 3), normal(5, 3, seed=1), torch.tensor([0, 1, 2, 3, 1])
    rows, classes = normal(2, 3, seed=2).requires_grad_(), torch.tensor([1, 3])
    expected = []
    for row, of in zip(rows, classes, strict=True):
        replaced = torch.stack([row if k == of else weight[k] for k in range(4)])
        expected.append(F.cross_entropy(features @ replaced.T, labels))
    found = replaced_row_loss(rows, classes, features, labels, weight)
    torch.testing.assert_close(found, torch.stack(expected).mean())
    assert torch.autograd.gradcheck(
        lambda each: replaced_row_loss(each, classes, features, labels, weight), (rows,)
    )


def begun(counts=COUNTS, **hparams):
    """Return a method, and features of mean squared length 1 with their labels."""
    spec, kind = NetworkSpec("resnet8", len(counts)), METHODS["metamodelnet"]
    method = kind(spec, torch.tensor(counts), kind.HParams(**SHORT | hparams)).double()
    torch.manual_seed(4)
    method.on_stage_start(method.stage)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    features = normal(len(labels), 8) + 2 * normal(len(counts), 8, seed=1)[labels]
    return method, features / features.square().sum(dim=1).mean().sqrt(), labels


def test_large_classes_keep_their_rows_and_small_ones_go_through_the_chain():
    method, features, labels = begun()
    found = method.rows(features, labels)
    whole = fitted_rows(features[None], labels[None], 6, 20, 1e-5, nothing)[0]
    assert number_of_blocks(method.counts) == 7
    assert found[:3].equal(whole[:3])
    generator = torch.Generator().manual_seed(method.seed)
    shots = method.few_shot_rows(features, labels, 7, generator)
    assert shots.shape == (7, 3, 6, 8)
    length = whole.norm(dim=1).mean()
    trained = method.trained_chain(
        shots / length, whole / length, length, features, labels, generator
    )
    for k, block in ((3, 5), (4, 3), (5, 1)):
        entering = [torch.zeros(0, 8).double()] * (7 - block)
        entering[0] = shots[block, :, k].mean(dim=0, keepdim=True) / length
        with torch.no_grad():
            torch.testing.assert_close(found[k], trained(*entering)[0] * length)
    assert method.rows(features, labels).equal(found)


def test_without_steps_small_classes_have_their_few_shot_rows():
    method, features, labels = begun(lr=1e-300)
    found = method.rows(features, labels)
    generator = torch.Generator().manual_seed(method.seed)
    shots = method.few_shot_rows(features, labels, 7, generator).mean(dim=1)
    for k, block in ((3, 5), (4, 3), (5, 1)):
        torch.testing.assert_close(found[k], shots[block, k])


def test_rows_of_all_images_recognize_small_classes_by_default():
    """Features have most of their length in common, as those behind a ReLU have."""
    counts = torch.tensor([500, 250, 120, 60, 25, 12])
    labels = torch.arange(6).repeat_interleave(counts)
    features = (4 + normal(len(labels), 32) + normal(6, 32, seed=1)[labels]).relu()
    features = features / features.square().sum(dim=1).mean().sqrt()
    kind = METHODS["metamodelnet"]
    method = kind(NetworkSpec("resnet8", 6), counts, kind.HParams()).double()
    rows = method.fitted(features[None], labels[None])[0]
    assert ((features @ rows.T).argmax(dim=1) == labels).all()


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_the_chain_learns_how_rows_of_large_classes_move(weight):
    """Rows of all images are twice those of few: so are those of classes it has not seen."""
    counts = (300,) * 30 + (1,) * 10
    method, features, labels = begun(counts, most_steps=60, weight=weight, lr=0.01)
    whole = normal(40, 8, seed=5)
    shots = whole / 2 + 0.1 * normal(3, 20, 40, 8, seed=6)
    generator = torch.Generator().manual_seed(0)
    trained = method.trained_chain(
        shots, whole, torch.tensor(1.0).double(), features, labels, generator
    )
    with torch.no_grad():
        unseen = shots[0, 0, 30:]
        before = (unseen - whole[30:]).square().sum(dim=1).mean()
        after = (trained(unseen, unseen[:0], unseen[:0]) - whole[30:]).square().sum(dim=1).mean()
    assert after < 0.7 * before


def test_all_large_or_single_images_is_a_fit():
    for counts in ((40, 40, 40), (1, 1, 1)):
        method, features, labels = begun(counts)
        whole = fitted_rows(features[None], labels[None], 3, 20, 1e-5, nothing)[0]
        assert method.rows(features, labels).equal(whole)


def test_work_and_memory_are_bounded(monkeypatch):
    method, features, labels = begun()
    beats = []
    method.beat = lambda: beats.append(1)
    method.rows(features, labels)
    fits, blocks = 20 + 7 * 20, 7 * 20
    assert len(beats) == fits + blocks
    beats.clear()
    monkeypatch.setattr(metamodelnet, "MOST_WORK", 1)
    generator = torch.Generator().manual_seed(0)
    assert method.few_shot_rows(features, labels, 7, generator).shape == (7, 1, 6, 8)
    beats.clear()
    method.rows(features, labels)
    assert len(beats) == fits + 7
    monkeypatch.undo()
    monkeypatch.setattr(metamodelnet, "MOST_NUMBERS", 2 * 7 * 6 * 8 // 4)
    generator = torch.Generator().manual_seed(0)
    assert method.few_shot_rows(features, labels, 7, generator).shape == (7, 2, 6, 8)


def test_the_classifier_is_that_of_features_in_their_length():
    method = steps.begin(Case("metamodelnet", SHORT), counts=(9, 9, 9, 9)).double()
    batch = steps.evaluation_batch(method)
    method.eval()
    with torch.inference_mode():
        method.update_statistics(batch)
        method.finalize_statistics()
        features = method.network.backbone(batch.images)
    scale = features.square().sum(dim=1).mean().sqrt()
    rows = fitted_rows((features / scale)[None], batch.labels[None], 4, 20, 1e-5, nothing)[0]
    classifier = method.network.classifier
    torch.testing.assert_close(classifier.weight.detach(), rows / scale)
    assert not classifier.bias.any()
    assert classifier.weight.requires_grad
