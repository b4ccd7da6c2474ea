"""Whole ensembles against the authors' numbers, and their further properties."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress, TrainedTeacher
from ltbench.methods.step_input import step_input
from ltbench.networks import NetworkSpec

EXACT = {"rtol": 1e-6, "atol": 1e-9}
SINGLE = {"rtol": 1e-5, "atol": 1e-7}  # large gradients are stored in float32
COUNTS = torch.tensor([40, 12, 5, 1])
KINDS = {"resnet8": 16, "test_resnet": 32, "test_convnext": 32, "test_vit": 160}
ENSEMBLES = [
    key
    for key, m in METHODS.items()
    if m.__module__.split(".")[2] == "ensembles" and m.stages[0].is_trained
]


def build(key, counts=COUNTS, backbone="resnet8", **hparams):
    torch.manual_seed(0)
    kind = METHODS[key]
    return kind(NetworkSpec(backbone, classes=len(counts)), counts, kind.HParams(**hparams))


def on_logits(key, oracle, **hparams):
    """Return a float64 method with the identity as its network."""
    method = build(key, oracle["counts"], **hparams).double()
    method.network = nn.Identity()
    return method


def batch(images, labels):
    return Batch(images, labels.long(), labels.long())


def check(method, labels, logits, loss, gradient):
    """Compare loss and gradient; the network's output is logits / scale."""
    logits = logits.requires_grad_()
    scale = getattr(method.hparams, "scale", 1.0)
    value = total_loss(method.training_loss(batch(logits / scale, labels)))
    torch.testing.assert_close(value, loss, **EXACT)
    torch.testing.assert_close(torch.autograd.grad(value, logits)[0], gradient, **SINGLE)


class Branches(nn.Module):
    """A backbone that gets features in place of images, one per branch."""

    def features_of(self, expert, features):
        return features

    def forward(self, features):
        return features


@pytest.mark.oracle("bbn", has=["alpha"])
def test_bbn(oracle):
    epochs, classes = oracle.hparams["max_epoch"], len(oracle["classifier_weight"])
    counts = torch.full((classes,), 3)
    method = build("bbn", counts, horizon=int(oracle["div_epoch"]) / epochs).double()
    method.network.backbone = Branches()
    method.network.classifier = nn.Linear(*oracle["classifier_weight"].T.shape, bias=False)
    method.network.classifier.weight = nn.Parameter(oracle["classifier_weight"])
    both = {
        "instance": batch(oracle["feat_cb"], oracle["label_cb"]),
        "reversed": batch(oracle["feat_rb"], oracle["label_rb"]),
    }
    for i, epoch in enumerate(oracle["epochs"].tolist()):
        method.progress = Progress(epoch - 1, epochs, deferred=False)
        assert method.alpha == pytest.approx(float(oracle["alpha"][i]), rel=1e-9)
        loss = total_loss(method.training_loss(both))
        (gradient,) = torch.autograd.grad(loss, method.network.classifier.weight)
        torch.testing.assert_close(loss, oracle["loss"][i], **EXACT)
        torch.testing.assert_close(gradient, oracle["grad_classifier_weight"][i], **EXACT)


@pytest.mark.oracle("bbn_branches", level="case")
def test_bbn_branches(oracle):
    epochs = oracle.hparams["max_epoch"]
    horizon = int(oracle[f"div_epoch_maxepoch{epochs}"]) / epochs
    method = build("bbn", oracle["counts"], horizon=horizon).double()
    method.network.backbone = Branches()
    classifier = method.network.classifier = nn.Linear(*oracle["W"].T.shape)
    classifier.weight, classifier.bias = nn.Parameter(oracle["W"]), nn.Parameter(oracle["b"])
    method.progress = Progress(oracle.hparams["epoch_1based"] - 1, epochs, deferred=False)
    ordinary, reverse = oracle["feat_cb"].requires_grad_(), oracle["feat_rb"].requires_grad_()
    loss = total_loss(
        method.training_loss(
            {
                "instance": batch(ordinary, oracle["label_cb"]),
                "reversed": batch(reverse, oracle["label_rb"]),
            }
        )
    )
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    parameters = (ordinary, reverse, classifier.weight, classifier.bias)
    for name, gradient in zip(
        ("feat_cb", "feat_rb", "W", "b"), torch.autograd.grad(loss, parameters), strict=True
    ):
        torch.testing.assert_close(gradient, oracle[f"grad_{name}"].double(), **SINGLE)
    logits = method.predict(torch.cat([ordinary, reverse], dim=1))
    torch.testing.assert_close(logits, oracle["logits_inference"], **EXACT)


@pytest.mark.oracle("bbn_branches", level="case")
def test_bbn_alpha_of_every_epoch(oracle):
    for epochs in (200, 180, 90, 60):
        method = build("bbn", horizon=int(oracle[f"div_epoch_maxepoch{epochs}"]) / epochs)
        curve = []
        for epoch in range(epochs):
            method.progress = Progress(epoch, epochs, deferred=False)
            curve.append(method.alpha)
        assert curve == pytest.approx(oracle[f"alpha_curve_maxepoch{epochs}"].tolist(), rel=1e-9)


def ride(oracle, key="ride", **more):
    hparams = oracle.hparams
    method = on_logits(
        key,
        oracle,
        experts=hparams["num_experts"],
        diversity=hparams["additional_diversity_factor"],
        temperature=hparams["base_diversity_temperature"],
        spread=hparams["reweight_factor"],
        max_margin=hparams["max_m"],
        scale=hparams["s"],
        **more,
    )
    method.progress = Progress(0, 1, deferred=False)
    return method


@pytest.mark.oracle("ride", level="case")
@pytest.mark.parametrize("when", ["before", "after"])
def test_ride(oracle, when):
    method = ride(oracle)
    method.progress = Progress(0, 1, deferred=when == "after")
    arguments = oracle["labels"], oracle["expert_logits"]
    check(method, *arguments, oracle[f"loss_{when}"], oracle[f"grad_{when}"])
    losses = method.expert_losses(
        oracle["expert_logits"] / method.hparams.scale, oracle["labels"].long()
    )
    torch.testing.assert_close(losses["margin"], oracle[f"ldam_part_{when}"], **EXACT)


@pytest.mark.oracle("ride", level="case")
def test_ride_predicts_the_mean(oracle):
    logits = ride(oracle).predict(oracle["expert_logits"] / oracle.hparams["s"])
    loss = nn.functional.cross_entropy(logits, oracle["labels"].long())
    torch.testing.assert_close(loss, oracle["eval_loss_mean_logits"], **EXACT)


class FixedTeacher(nn.Module):
    """A teacher with given logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def predict(self, images):
        return self.logits


@pytest.mark.oracle("ride", level="case")
@pytest.mark.parametrize("when", ["before", "after"])
def test_ride_distill(oracle, when):
    temperature = oracle.hparams["distill_temperature"]
    method = ride(oracle, "ride_distill", teacher_temperature=temperature)
    method.teacher = FixedTeacher(oracle["teacher_logits"])
    method.progress = Progress(0, 1, deferred=when == "after")
    expected = oracle[f"distill_total_{when}"], oracle[f"distill_grad_{when}"]
    check(method, oracle["labels"], oracle["expert_logits"], *expected)


def test_ride_distill_learns_from_the_trained_teacher():
    method = build("ride_distill")
    teacher = build("ride", experts=6)
    for parameter in teacher.parameters():
        nn.init.normal_(parameter)
    method.load_teachers([TrainedTeacher(teacher.state_dict(), torch.arange(len(COUNTS)))])
    images = torch.randn(3, 3, 8, 8)
    assert method.train().teacher.predict(images).equal(teacher.eval().predict(images))
    assert not any(p.requires_grad for p in method.teacher.parameters())


def test_the_teacher_of_ride_has_the_students_width_and_no_pretrained_weights(tmp_path):
    backbone, file = "test_resnet", tmp_path / "test_resnet.safetensors"
    save_file(timm.create_model(backbone).state_dict(), file)
    kind, spec = METHODS["ride_distill"], NetworkSpec(backbone, len(COUNTS), weights=file)
    student = kind(spec, COUNTS, kind.HParams(reduced=False))
    teacher = build("ride", backbone=backbone, experts=6, reduced=False)
    student.load_teachers([TrainedTeacher(teacher.state_dict(), torch.arange(len(COUNTS)))])
    images = torch.randn(2, 3, 32, 32)
    assert student.eval().teacher.predict(images).equal(teacher.eval().predict(images))


class FixedExperts(nn.Module):
    """A network with given features and logits."""

    def __init__(self, features, cosines):
        super().__init__()
        self.known, self.cosines = features, cosines

    def features(self, images):
        return self.known

    def classifier(self, features):
        return self.cosines


@pytest.mark.oracle("ride", has=["ea_loss"])
def test_ride_router(oracle):
    hparams, logits = oracle.hparams, oracle["ea_expert_logits"]
    method = build(
        "ride_router",
        oracle["counts"],
        experts=len(logits),
        top=hparams["ea_topk"],
        positive_weight=hparams["ea_pos_weight"],
    ).double()
    features = oracle["ea_featmaps"].mean(dim=(3, 4))
    method.network = FixedExperts(features, logits / method.hparams.scale)
    router = method.router
    for i in range(len(router.hidden)):
        router.hidden[i] = nn.Linear(features.shape[2], 16)
        router.hidden[i].weight = nn.Parameter(oracle["ea_hidden_W"][i])
        router.hidden[i].bias = nn.Parameter(oracle["ea_hidden_b"][i])
    router.output.weight = nn.Parameter(oracle["ea_out_W"])
    router.output.bias = nn.Parameter(oracle["ea_out_b"])
    loss = method.training_loss(batch(torch.zeros(1), oracle["labels"]))
    torch.testing.assert_close(loss, oracle["ea_loss"][0], **EXACT)
    names, parameters = zip(*router.named_parameters(), strict=True)
    for name, gradient in zip(names, torch.autograd.grad(loss, parameters), strict=True):
        place = name.replace("hidden", "hidden_fcs").replace("output", "fc").replace(".", "_")
        torch.testing.assert_close(gradient, oracle[f"ea_grad_expert_help_pred_{place}"], **EXACT)
    torch.testing.assert_close(method.predict(torch.zeros(1)), oracle["ea_test_logits"], **EXACT)


def test_only_the_router_is_trained():
    method = build("ride_router")
    method.init_from_weights(build("ride").state_dict())
    method.on_stage_start(method.stage)
    trained = {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {"router"}
    with pytest.raises(ValueError, match="do not fit this network"):
        build("ride_router", experts=2).init_from_weights(build("ride").state_dict())


@pytest.mark.oracle("sade", level="case")
def test_sade(oracle):
    method = on_logits("sade", oracle, tau=oracle.hparams["tau"])
    logits = oracle["expert_logits"]
    check(method, oracle["labels"], logits, oracle["loss"], oracle["grad"])
    losses = method.training_loss(batch(logits.detach() / method.hparams.scale, oracle["labels"]))
    for i, loss in enumerate(losses.values(), start=1):
        torch.testing.assert_close(loss, oracle[f"loss_expert{i}"], **EXACT)
    mean = logits.detach().mean(dim=0)
    torch.testing.assert_close(
        method.predict(logits.detach() / method.hparams.scale), mean, atol=1e-6, rtol=1e-6
    )


@pytest.mark.oracle("sade", level="case")
def test_sade_weighs_its_experts_like_the_authors(oracle):
    views = torch.stack([oracle["tta_view0"], oracle["tta_view1"]], dim=1)
    views = views.transpose(2, 3)  # [steps, 2, E, B, C]
    hparams = oracle.hparams
    method = on_logits("sade", oracle, scale=1.0, test_epochs=1, test_lr=hparams["tta_lr"])
    for steps in range(1, len(views) + 1):
        with torch.inference_mode():
            method.adapt(views[:steps])
        expected = oracle["tta_w_after_step"][steps - 1].softmax(dim=0)
        torch.testing.assert_close(method.weights, expected, rtol=1e-6, atol=1e-9)
    images = views[0, 0]
    torch.testing.assert_close(
        method.predict(images), (method.weights[:, None, None] * images).sum(dim=0)
    )


def test_sade_prefers_the_experts_that_agree_and_stops_early():
    method = build("sade", scale=1.0, test_epochs=500, test_lr=1.0).double()
    method.network = nn.Identity()
    torch.manual_seed(0)
    stable = 6 * nn.functional.one_hot(torch.arange(32) % 4, 4).double()
    views = [
        torch.stack([stable, 4 * torch.randn(32, 4), 4 * torch.randn(32, 4)]) for _ in range(2)
    ]
    seen = 0

    class Batches:
        def __iter__(self):
            nonlocal seen
            seen += 1
            return iter([torch.stack(views)])

    method.adapt(Batches())
    assert method.weights.argmax() == 0
    assert method.weights.sum() == pytest.approx(1)
    assert method.weights.min() < 0.05
    assert 1 < seen < 500


@pytest.mark.oracle("reslt", level="case")
@pytest.mark.parametrize(
    ("name", "classes", "medium", "few"), [("cifar100", 100, 0.35, 0.7), ("cifar10", 10, 0.2, 0.4)]
)
def test_reslt(oracle, name, classes, medium, few):
    counts = torch.arange(classes, 0, -1)
    beta = float(oracle[f"{name}_hp_beta"])
    method = build("reslt", counts, beta=beta, medium_from=medium, few_from=few).double()
    method.network = nn.Identity()
    logits = oracle[f"{name}_logits_H_M_T"]
    labels = oracle[f"{name}_labels"]
    check(method, labels, logits, oracle[f"{name}_loss"], oracle[f"{name}_grads"])
    losses = method.training_loss(batch(logits.detach(), labels))
    torch.testing.assert_close(losses["fused"] / (1 - beta), oracle[f"{name}_loss_fce"], **EXACT)


def test_reslt_divides_by_norms_in_the_test():
    plain, scaled = build("reslt"), build("reslt", gamma=1.0)
    scaled.load_state_dict(plain.state_dict())
    images = torch.randn(3, 3, 8, 8)
    for method in (plain.eval(), scaled.eval()):
        logits = method.network(images).sum(dim=0)
        torch.testing.assert_close(plain.predict(images), logits)
    norms = plain.network.classifier.weight.norm(dim=1)
    torch.testing.assert_close(scaled.predict(images) * norms, plain.predict(images))


@pytest.mark.parametrize("backbone", KINDS)
@pytest.mark.parametrize("key", ENSEMBLES)
def test_trains_on_every_kind_of_backbone(key, backbone):
    method = build(key, backbone=backbone)
    method.on_stage_start(method.stage)
    images = torch.randn(4, 3, KINDS[backbone], KINDS[backbone])
    views = len(method.stage.views)
    one = batch(torch.stack([images] * views) if views > 1 else images, torch.arange(4))
    method.progress = Progress(1, 2, deferred=True)
    loss = total_loss(method.train().training_loss(step_input(method, one)))
    loss.backward()
    assert loss.isfinite()
    idle = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    assert method.eval().predict(images).shape == (4, 4)
