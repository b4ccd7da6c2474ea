"""Stages and state of KCL and TSC; projections of BCL and GPaCo."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.config.hparams import HParamResolver
from ltbench.config.load import load_dataset
from ltbench.config.registry import load_registry
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.networks import NetworkSpec
from ltbench.networks.class_targets import assign_targets

COUNTS = torch.tensor([40, 12, 5, 1])
HPARAMS = HParamResolver(load_registry())
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 0, 3])


def build(key, stage=None, **hparams):
    torch.manual_seed(0)
    kind = METHODS[key]
    method = kind(NetworkSpec("resnet8", 4), COUNTS, kind.HParams(width=8, **hparams))
    method.stage = method.stage_of(stage or method.stages[0].name)
    method.on_stage_start(method.stage)
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    return method.train()


def batch_of(method):
    shape = (len(method.stage.views), len(LABELS), 3, 16, 16)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).squeeze(0)
    return Batch(images, LABELS, torch.arange(len(LABELS)))


@pytest.mark.parametrize("key", ["kcl", "tsc"])
def test_the_contrast_trains_backbone_and_projection_alone(key):
    method = build(key, queue=16, norm_groups=1)
    method.training_loss(batch_of(method)).backward()
    trained = {name.split(".")[1] for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {"backbone", "projection"}
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    queue = method.network.queue
    assert queue.labels.tolist() == [*LABELS.tolist(), *[-1] * 8]
    assert int(queue.position) == 8


@pytest.mark.parametrize("key", ["kcl", "tsc"])
def test_the_classifier_is_trained_alone(key):
    method = build(key, "classifier", queue=16)
    method.training_loss(batch_of(method)).backward()
    trained = [name for name, p in method.named_parameters() if p.requires_grad]
    assert trained == ["network.classifier.weight", "network.classifier.bias"]
    assert not method.network.backbone.training


def test_the_second_stage_goes_on_with_encoder_and_queue():
    first = build("tsc", queue=16)
    first.training_loss(batch_of(first))
    state = {name: value.clone() for name, value in first.state_dict().items()}
    second = build("tsc", "targeted", queue=16)
    second.init_from_weights(state)
    second.on_stage_start(second.stage)
    for name, value in second.state_dict().items():
        if name not in ("targets", "assignment"):
            assert value.equal(state[name]), name


def test_centroids_and_assignment_move_in_the_targeted_stage_alone():
    method = build("tsc", "targeted", queue=16)
    before = method.centroids.clone()
    method.training_loss(batch_of(method))
    assert not method.centroids.equal(before)
    torch.testing.assert_close(method.centroids.norm(dim=1), torch.ones(4))
    method.centroids.copy_(method.targets[[2, 0, 3, 1]])
    method.on_step_end()
    assert method.assignment.tolist() == [2, 0, 3, 1]
    assert assign_targets(method.centroids, method.targets).equal(method.assignment)
    plain = build("tsc", queue=16)
    before = plain.centroids.clone()
    plain.training_loss(batch_of(plain))
    plain.on_step_end()
    assert plain.centroids.equal(before)


def test_classes_of_many_are_assigned_before_epochs_alone():
    method = build("tsc", "targeted", queue=16, assign="epoch")
    before = method.assignment.clone()
    method.centroids.copy_(method.targets[[2, 0, 3, 1]])
    method.on_step_end()
    assert method.assignment.equal(before)
    method.on_epoch_start(Progress(1, 2, deferred=False))
    assert method.assignment.tolist() == [2, 0, 3, 1]
    assert HPARAMS.resolve("tsc", {}, load_dataset("inaturalist2018")).values["assign"] == "epoch"
    assert HPARAMS.resolve("tsc", {}, load_dataset("imagenet_lt")).values["assign"] == "step"


def test_the_target_takes_part_in_the_loss():
    losses = []
    for weight in (0.0, 1.0):
        method = build("tsc", "targeted", queue=16, target_weight=weight)
        losses.append(float(method.training_loss(batch_of(method)).detach()))
    assert losses[0] != losses[1]


def test_views_of_kcl():
    assert build("kcl", queue=8).stage.views == ("distorted", "distorted")
    assert build("kcl", queue=8, views="recipe").stage.views == ("recipe", "recipe")


def test_bcls_loss_is_of_all_views_and_prototypes():
    method = build("bcl")
    batch = batch_of(method)
    losses = method.training_loss(batch)
    assert set(losses) == {"classifier", "contrast"}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in method.parameters())
    torch.testing.assert_close(method.network.centers().norm(dim=1), torch.ones(4))
    method.eval()
    logits = method.predict(batch.images[0])
    torch.testing.assert_close(logits, method.network(batch.images[0]))


def test_both_views_of_gpaco_are_anchors_and_second_ones_keys():
    method = build("gpaco", queue=16)
    batch = batch_of(method)
    images = batch.images.clone().requires_grad_()
    method.training_loss(Batch(images, batch.labels, batch.index)).backward()
    assert images.grad.flatten(2).any(dim=2).all()
    queue = method.network.queue
    with torch.no_grad():
        keys = F.normalize(method.network.projection(method.network.features(batch.images[1])))
    torch.testing.assert_close(queue.keys[:8], keys, rtol=1e-4, atol=1e-5)
    assert queue.labels[:8].equal(LABELS)
