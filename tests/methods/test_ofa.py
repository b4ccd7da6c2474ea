"""OFA: fused maps against numbers of a port, and the images and parts that are trained."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.losses import cross_entropy
from ltbench.methods import METHODS
from ltbench.methods.augmentation.ofa import activations, fused_maps
from ltbench.methods.contract import NetworkSpec
from ltbench.methods.step_input import example_draw
from ltbench.networks.parts import parts_of
from ltbench.testing import steps
from ltbench.testing.jobs import Case
from tests.losses.test_loss_oracles import EXACT

CASE = Case("ofa")
HEADS, TAILS = (0,), (1, 2, 3)  # of the steps' counts


@pytest.mark.oracle("ofa_unofficial", has=["fused"])
def test_fused_maps(oracle):
    """Both cases; the file has no gradient, which is that of a masked sum."""
    heads = oracle["head_features"].requires_grad_()
    count = len(heads)
    maps = oracle["tail_feature"].expand(count, -1, -1, -1).clone().requires_grad_()
    tails = maps, oracle["tail_cam"].expand(count, -1, -1)
    mask = oracle["draw_uniform_map"] > oracle["draw_gamma"][:, None, None]
    values = oracle.hparams["ts"], oracle.hparams["tg"]
    found = fused_maps(tails, (heads, oracle["head_cams"]), *values, mask)
    torch.testing.assert_close(found, oracle["fused"], **EXACT)
    assert torch.autograd.gradcheck(
        lambda own, other: fused_maps((own, tails[1]), (other, oracle["head_cams"]), *values, mask),
        (maps, heads),
    )


def test_an_activation_at_a_threshold_is_neither_specific_nor_generic():
    maps, at = torch.ones(1, 1, 1, 2), torch.tensor([[[0.75, 0.25]]])
    everywhere = torch.ones(1, 1, 2, dtype=torch.bool)
    for mask in (everywhere, ~everywhere):
        assert not fused_maps((maps, at), (maps, at), 0.75, 0.25, mask).any()
    below, above = at - 0.01, at + 0.01
    assert fused_maps((maps, above), (maps, at), 0.75, 0.25, everywhere).tolist() == [[[[1, 0]]]]
    assert fused_maps((maps, at), (maps, below), 0.75, 0.25, ~everywhere).tolist() == [[[[0, 1]]]]


def test_activations_are_the_logits_of_places():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    found = activations(maps, weights)
    assert found.flatten(1).amin(dim=1).tolist() == [0, 0]
    assert found.flatten(1).amax(dim=1).tolist() == [1, 1]
    for image in range(2):
        logits = weights[image] @ maps[image].flatten(1)
        expected = (logits - logits.min()) / (logits.max() - logits.min())
        torch.testing.assert_close(found[image].flatten(), expected)
    mean = (weights[:, :, None, None] * maps).sum(dim=1).mean(dim=(1, 2))
    pooled = (weights * maps.mean(dim=(2, 3))).sum(dim=1)
    torch.testing.assert_close(mean, pooled)  # the logit of the pooled map
    torch.testing.assert_close(activations(1e4 * maps, weights), found)
    assert not activations(torch.ones(1, 3, 2, 2), torch.ones(1, 3)).any()


def test_confusing_classes_have_the_highest_mean_probability():
    counts = (60, 50, 40, 30, 8, 5)
    spec = NetworkSpec("resnet8", len(counts))
    torch.manual_seed(3)
    method = METHODS["ofa"](spec, torch.tensor(counts), None)
    method.network.classifier.weight.data.mul_(30)
    method.on_stage_start(method.stage)
    method.eval()
    images = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(24) % 6
    with torch.inference_mode():
        for part in range(2):
            rows = slice(12 * part, 12 * part + 12)
            method.update_statistics(Batch(images[rows], labels[rows], labels[rows]))
        method.finalize_statistics()
        probabilities = method.network(images).softmax(dim=1)
    for row, tail in enumerate((4, 5)):
        mean = probabilities[labels == tail].mean(dim=0)[:4]
        assert method.confusing[row].tolist() == mean.argsort(descending=True)[:3].tolist()


@pytest.mark.parametrize(("per_tail", "batch"), [(1, 16), (3, 32)])
def test_groups_are_a_tail_image_its_confusing_classes_and_a_head_image(per_tail, batch):
    counts = (60, 50, 40, 30, 8, 5)
    kind = METHODS["ofa"]
    method = kind(NetworkSpec("resnet8", 6), torch.tensor(counts), kind.HParams(per_tail=per_tail))
    method.confusing = torch.tensor([[0, 1, 2], [3, 2, 1]])
    draw = example_draw(method, batch)
    (index,) = method.epoch_indices(draw).values()
    assert index.shape == (len(draw.labels) // batch, 4 * (2 + per_tail))
    groups = draw.labels[index].view(-1, 2 + per_tail)
    assert set(groups[:, 0].tolist()) == {4, 5}
    assert set(groups[:, -1].tolist()) <= {0, 1, 2, 3}
    for tail, *confusing in groups[:, :-1].tolist():
        assert set(confusing) <= set(method.confusing[tail - 4].tolist())
        assert len(set(confusing)) == per_tail
    tail_rows = (groups[:, 0] >= 4).sum() * (1 + per_tail)  # with those that are fused
    assert tail_rows == groups[:, 1:].numel()  # as many of the head


def test_a_batch_without_a_group_is_refused():
    method = steps.begin(CASE)
    with pytest.raises(ValueError, match="batch_size: expected at least 4, not 3"):
        method.epoch_indices(example_draw(method, 3))


def test_rows_that_are_no_groups_are_refused():
    method = steps.begin(CASE)
    with pytest.raises(ValueError, match="rows: expected groups of 3"):
        method.training_loss(steps.training_batch(method))


def test_the_loss_is_that_of_images_and_fused_maps():
    method = steps.begin(CASE).double()
    batch = steps.training_batch(method)
    batch = Batch(batch.images[:6], torch.tensor([3, 0, 0, 1, 0, 0]), batch.index[:6])
    steps.begin_epoch(method)
    found = method.training_loss(batch)
    steps.begin_epoch(method)
    parts, network = parts_of(method.network.backbone), method.network
    maps = parts.maps(batch.images)
    cams = activations(maps, network.classifier.weight[batch.labels])
    places = method.rng.uniform(batch.labels[:2], *cams.shape[1:])
    mask = places > method.rng.uniform(batch.labels[:2])[:, None, None]
    logits, labels = [network(batch.images)], [batch.labels]
    for group in range(2):
        own, other = 3 * group, 3 * group + 1
        tail_map = maps[own] * (cams[own] > 0.8) * mask[group]
        head_map = maps[other] * (cams[other] < 0.2) * ~mask[group]
        assert (tail_map + head_map).any()
        logits.append(network.classifier(parts.pool((tail_map + head_map)[None])))
        labels.append(batch.labels[own : own + 1])
    expected = cross_entropy(torch.cat(logits), torch.cat(labels))
    torch.testing.assert_close(found, expected)


def test_the_last_block_and_the_classifier_are_trained():
    method = steps.begin(CASE, norm="batch")
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert trained
    assert all(n.startswith(("network.backbone.stages.2.", "network.classifier.")) for n in trained)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.train()
    batch = steps.training_batch(method)
    steps.begin_epoch(method)
    method.training_loss(Batch(batch.images[:6], batch.labels[:6], batch.index[:6]))
    moved = {name for name, value in method.state_dict().items() if not value.equal(before[name])}
    assert moved
    assert all(name.startswith("network.backbone.stages.2.") for name in moved)


def test_without_a_tail_it_is_plain_fine_tuning():
    method = steps.begin(CASE, counts=(9, 9, 9, 9))
    batch = steps.training_batch(method)
    assert [*method.epoch_indices(example_draw(method, 8))] == ["instance"]
    assert steps.loss_of(method, batch).equal(
        cross_entropy(method.network(batch.images), batch.labels)
    )


def test_backbones_without_maps_have_none_that_are_fused():
    kind = METHODS["ofa"]
    counts, spec = torch.tensor([40, 12, 5, 2]), NetworkSpec("vit_tiny_patch16_224", 4)
    method = kind(spec, counts)
    assert [*method.epoch_indices(example_draw(method, 8))] == ["instance"]
