"""NCL: its loss against the authors' numbers, its networks and its contrast.

Two rows of the file have equal logits on the border of the hard classes: the stored mask is used.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.losses import info_nce
from ltbench.methods.ensembles.ncl import NCL, NCLHParams
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.testing import steps
from ltbench.testing.jobs import Case

SMALL = {"queue": 16, "width": 8}


@pytest.mark.oracle("ncl")
def test_the_loss_and_its_gradient(oracle):
    hparams, logits = oracle.hparams, oracle["expert_logits"].requires_grad_()
    own = NCLHParams(
        networks=len(logits),
        distillation=hparams["diversity"],
        hard_distillation=hparams["diversity_hcm"],
        hard_weight=hparams["hcm_ratio"],
        contrast=0,
    )
    method = NCL(NetworkSpec("resnet8", logits.shape[2]), oracle["counts"], own).double()
    loss = total_loss(method.losses_on(logits, oracle["labels"].long(), oracle["hcm_mask"]))
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss.detach(), oracle["loss"], rtol=1e-8, atol=1e-12)
    single = oracle.own["grad"].dtype == "float32"
    exact = {"rtol": 1e-5, "atol": 1e-7} if single else {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(gradient, oracle["grad"], **exact)
    torch.testing.assert_close(hparams["ce_ratio"], 1.0)  # ours has no weight of this part


def test_the_first_network_chooses_hard_classes_by_its_logits_without_prior():
    method = steps.begin(Case("ncl", {"contrast": 0.0, "hard_share": 0.5})).double()
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 8, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 2, 3])
    others = logits[0].clone()
    others[torch.arange(8), labels] = -torch.inf
    hard = F.one_hot(labels, 4).bool() | F.one_hot(others.argmax(dim=1), 4).bool()
    expected = method.losses_on(logits, labels, hard)
    for name, value in method.expert_losses(logits, labels).items():
        assert value.equal(expected[name])


@pytest.mark.parametrize(("share", "number"), [(0.3, 3), (0.01, 2), (1.0, 10), (0.29, 2)])
def test_the_number_of_hard_classes(share, number):
    method = NCL(
        NetworkSpec("resnet8", 10), torch.ones(10, dtype=torch.int64), NCLHParams(hard_share=share)
    )
    assert method.hard_number == number


def test_networks_share_no_parameter_and_the_first_starts_as_softmax():
    method = steps.build(Case("ncl", SMALL))
    networks = method.network.backbone.experts
    assert len(networks) == 3
    names = [name for name, _ in networks[0].named_parameters()]
    assert not any(
        networks[i].get_parameter(names[0]).equal(networks[j].get_parameter(names[0]))
        for i, j in ((0, 1), (0, 2), (1, 2))
    )
    torch.manual_seed(0)
    alone, _ = build_backbone(NetworkSpec("resnet8", steps.CLASSES, norm="group"))
    assert networks[0].get_parameter(names[0]).equal(alone.get_parameter(names[0]))


def two_views(method):
    batch = steps.evaluation_batch(method)
    return Batch(torch.stack([batch.images, batch.images.flip(3)]), batch.labels, batch.index)


def test_the_contrast_is_of_a_networks_own_queries_keys_and_queue():
    method = steps.begin(Case("ncl", SMALL | {"momentum": 0.9, "contrast": 2.0})).double()
    batch, expected = two_views(method), []
    with torch.no_grad():
        for backbone, own in zip(method.network.backbone.experts, method.contrast, strict=True):
            queries = F.normalize(own.projection(backbone(batch.images[0])))
            keys = F.normalize(own.projection(backbone(batch.images[1])))
            expected.append(info_nce(queries, keys, own.queue.keys.clone(), 0.2))
    found = method.training_loss(batch)["contrast"]
    torch.testing.assert_close(found.detach(), 2 * sum(expected))
    latest = method.contrast[2].queue.keys[:8]
    torch.testing.assert_close(latest, keys)
    assert all(int(own.queue.position) == 8 for own in method.contrast)


def test_momentum_encoders_follow_backbone_and_projection():
    method = steps.begin(Case("ncl", SMALL | {"momentum": 0.9}))
    backbone, own = method.network.backbone.experts[1], method.contrast[1]
    pairs = [
        (backbone.conv1.weight, own.copy.encoder[0].conv1.weight),
        (own.projection[0].weight, own.copy.encoder[1][0].weight),
    ]
    for latest, average in pairs:
        assert average.equal(latest)
        latest.data += 1
    method.training_loss(two_views(method))
    for latest, average in pairs:
        torch.testing.assert_close(average, latest - 0.9)
        assert not average.requires_grad


def test_without_contrast_there_is_one_view_and_no_encoder():
    method = steps.begin(Case("ncl", {"contrast": 0.0}))
    assert method.stage.views == ("recipe",)
    assert method.stage.forward_passes == 0
    assert len(method.contrast) == 0
    assert "contrast" not in method.training_loss(steps.training_batch(method))
    assert steps.begin(Case("ncl", SMALL)).stage.views == ("recipe", "distorted")


def test_predictions_are_the_mean_of_logits_without_prior():
    method = steps.begin(Case("ncl", SMALL)).eval()
    images = steps.evaluation_batch(method).images
    network = method.network
    each = [
        classify(backbone(images))
        for backbone, classify in zip(network.backbone.experts, network.classifier, strict=True)
    ]
    torch.testing.assert_close(method.predict(images), sum(each) / 3)


def test_cosine_classifiers():
    method = steps.build(Case("ncl", SMALL | {"classifier": "cosine", "scale": 32.0}))
    features = torch.randn(3, 5, method.network.backbone.width)
    logits = method.network.classifier(features)
    assert logits.abs().max() <= 32
    torch.testing.assert_close(method.network.classifier(7 * features), logits)
    assert not any(isinstance(part, nn.Linear) for part in method.network.classifier)
