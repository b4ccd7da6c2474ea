"""RSG against the authors' numbers, and what it promises beyond them."""

import pytest
import torch
from torch import nn

from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.losses import base_loss
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.networks import NetworkSpec
from ltbench.networks.rare_samples import pair_heads_with_tails

EXACT = {"rtol": 1e-6, "atol": 1e-9}
SINGLE = {"rtol": 1e-5, "atol": 1e-7}  # large gradients are stored in float32
KINDS = {"resnet8": 16, "test_resnet": 32, "test_convnext": 32, "test_vit": 160}
COUNTS = torch.tensor([40, 12, 5, 1])
NAMES = {
    "weight": "linear",
    "bias": "bias",
    "centers": "centers",
    "transform": "vec_transformation_module_0",
    "pairs.mix": "contrastive_module_0",
    "pairs.spread": "contrastive_module_2",
    "pairs.decide": "contrastive_fc",
}


def build(counts=COUNTS, backbone="resnet8", norm="batch", **hparams):
    torch.manual_seed(0)
    kind = METHODS["rsg"]
    spec = NetworkSpec(backbone, classes=len(counts), norm=norm)
    return kind(spec, counts, kind.HParams(**hparams))


class Seen(nn.Module):
    """Notes the maps that come to the last stage."""

    def forward(self, maps):
        self.maps = maps
        return maps.mean(dim=(2, 3))


def on_maps(oracle, **hparams):
    """Return RSG with the authors' generator, whose images are the maps."""
    weight = oracle["param_linear"]
    classes, channels, centers = weight.shape
    heads = oracle["head_classes"].long()
    counts = torch.ones(classes, dtype=torch.int64).index_fill(0, heads, 9)
    width = len(oracle["param_contrastive_module_0_bias"])
    method = build(
        counts,
        centers=centers,
        contrast_width=width,
        head_share=len(heads) / classes,
        strength=float(oracle["hp_transfer_strength"]),
        center_weight=1.0,
        vector_weight=1.0,
    ).double()
    assert method.head.nonzero().flatten().tolist() == sorted(heads.tolist())
    method.network.backbone = nn.Sequential(nn.Identity(), Seen())
    method.network.classifier = nn.Linear(channels, classes).double()
    method.network.generator = type(method.network.generator)(
        classes, channels, centers, width
    ).double()
    method.network.generator.load_state_dict(
        {name: oracle[f"param_{theirs(name)}"] for name in method.network.generator.state_dict()}
    )
    return method


def theirs(name):
    """Return the authors' name of a generator's parameter."""
    module, _, tensor = name.rpartition(".")
    return NAMES[name] if not module else f"{NAMES[module]}_{tensor}"


@pytest.mark.oracle("rsg", level="case")
@pytest.mark.parametrize("when", ["early", "late"])
def test_rsg(oracle, when):
    method = on_maps(oracle)
    generator, labels = method.network.generator, oracle["labels"].long()
    method.progress = Progress(0, 1, deferred=when == "late")
    maps = oracle["feature_maps"].requires_grad_()
    classified = []
    method.margin_loss = lambda cosines, labels: classified.append(labels) or cosines.sum() * 0
    losses = method.training_loss(Batch(maps, labels, labels))
    torch.testing.assert_close(losses["centers"], oracle[f"{when}_loss_cesc"], **EXACT)
    torch.testing.assert_close(losses["vectors"], oracle[f"{when}_loss_mv"], **EXACT)
    extended = method.network.backbone[1].maps
    torch.testing.assert_close(extended, oracle[f"{when}_out_feature_maps"], **EXACT)
    assert classified[0].tolist() == oracle[f"{when}_out_labels"].tolist()

    (below,) = torch.autograd.grad(extended.square().sum(), maps, retain_graph=True)
    expected = oracle[f"{when}_grad_of_sum_sq_out_wrt_input"]
    torch.testing.assert_close(below, expected, **SINGLE)
    total_loss(losses).backward()
    for name, parameter in generator.named_parameters():
        stored = f"{when}_grad_{theirs(name)}"
        if stored in oracle.own:
            torch.testing.assert_close(parameter.grad, oracle[stored], **EXACT)
        else:  # not of this phase
            assert parameter.grad.eq(0).all()
    assert maps.grad.eq(0).all()


@pytest.mark.parametrize(
    ("labels", "strength", "heads", "tails"),
    [
        ([0, 1, 0, 2, 0, 0, 0, 3], 1.0, [0, 2, 4], [1, 3, 7]),
        ([0, 0, 0, 0, 0, 1, 2], 1.0, [0, 1, 2, 3], [5, 6, 5, 6]),
        ([0, 0, 0, 0, 0, 1, 2], 0.5, [0, 1], [5, 6]),
        ([1, 2, 0, 3, 1, 1], 1.0, [2] * 5, [0, 1, 3, 4, 5]),
        ([1, 2, 0, 3, 1, 1], 0.4, [2] * 2, [0, 1]),
        ([0, 0], 1.0, [], []),
        ([1, 2], 1.0, [], []),
    ],
)
def test_the_fewer_meet_the_more(labels, strength, heads, tails):
    head = torch.tensor([True, False, False, False])
    found = pair_heads_with_tails(torch.tensor(labels), head, strength)
    assert [each.tolist() for each in found] == [heads, tails]


def test_head_classes_are_the_largest():
    assert build(torch.tensor([1, 5, 9, 5, 2])).head.tolist() == [False, False, True, False, False]
    many = build(torch.arange(10, 20))
    assert many.head.nonzero().flatten().tolist() == [8, 9]


def test_samples_are_generated_once_deferred():
    method = build(norm="group")
    seen = []
    method.network.classifier.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    batch = Batch(torch.randn(8, 3, 16, 16), torch.tensor([0, 0, 0, 0, 0, 1, 2, 3]), torch.zeros(8))
    for deferred in (False, True):
        method.progress = Progress(0, 1, deferred=deferred)
        method.training_loss(batch)
    method.eval().predict(batch.images)
    assert seen == [8, 11, 8]


@pytest.mark.parametrize("loss", ["softmax", "drw", "balanced_softmax"])
def test_another_loss_of_classes_has_a_linear_classifier(loss):
    method = build(norm="group", loss=loss, center_weight=0.0, vector_weight=0.0)
    batch = Batch(torch.randn(8, 3, 16, 16), torch.tensor([0, 0, 0, 0, 0, 1, 2, 3]), torch.zeros(8))
    method.progress = Progress(0, 1, deferred=False)  # nothing is generated yet
    logits = method.network(batch.images)
    expected = base_loss(loss, logits, batch.labels, COUNTS, deferred=False)
    torch.testing.assert_close(method.training_loss(batch)["classes"], expected)
    assert method.network.classifier.bias.shape == (4,)
    assert method.eval().predict(batch.images).equal(method.network(batch.images))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backbone", KINDS)
@pytest.mark.parametrize("deferred", [False, True])
def test_trains_on_every_kind_of_backbone(backbone, deferred, precision):
    method = build(backbone=backbone).train()
    method.progress = Progress(1, 2, deferred=deferred)
    images = torch.randn(4, 3, KINDS[backbone], KINDS[backbone])
    labels = torch.arange(4)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        loss = total_loss(method.training_loss(Batch(images, labels, labels)))
    loss.backward()
    assert loss.isfinite()
    assert not [n for n, p in method.named_parameters() if p.grad is None]
    assert method.eval().predict(images).shape == (4, 4)
