"""Representation, classifier design and decoupled training against the authors' numbers."""

import pytest
import torch
from torch import nn

from ltbench.augment import mix
from ltbench.classifiers import CausalNormClassifier, LearnableScale, TauNormalized
from ltbench.config.recipe import Optimizer
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import Stepper
from ltbench.losses import base_loss
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.training.schedule import build_optimizer

EXACT = {"rtol": 1e-6, "atol": 1e-9}
COUNTS = torch.tensor([40, 12, 5, 1])


class RecordedRNG(GlobalBatchRNG):
    """Random numbers of the authors' run."""

    def __init__(self, share, order):
        super().__init__(make_generator(0))
        self.share, self.given_order = share, order

    def beta(self, alpha):
        return self.share

    def permutation(self, samples):
        return self.given_order


def build(key, counts=COUNTS, **hparams):
    torch.manual_seed(0)
    spec = NetworkSpec("resnet8", classes=len(counts), norm="group")
    return METHODS[key](spec, counts, METHODS[key].HParams(**hparams)).double()


def batch_of(images, labels):
    return Batch(images, labels.long(), torch.arange(len(labels)))


def digits_like(size=6):
    images = torch.randn(size, 3, 8, 8, generator=make_generator(1)).double()
    return batch_of(images, torch.arange(size) % len(COUNTS))


@pytest.mark.oracle("mix_family", has=["mixup_loss"])
def test_mixup(oracle):
    seen = []

    def network(images):
        seen.append(images)
        return logits

    logits = oracle["logits"].requires_grad_()
    method = build("mixup", oracle["counts"])
    method.network = nn.Identity()
    method.network.forward = network
    method.rng = RecordedRNG(oracle.hparams["lambda"], oracle["perm"].long())
    loss = method.training_loss(batch_of(oracle["images"], oracle["labels"]))
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(seen[0], oracle["mixup_images"], **EXACT)
    torch.testing.assert_close(loss, oracle["mixup_loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["mixup_grad_logits"], **EXACT)


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("loss", ["softmax", "drw", "balanced_softmax", "ldam"])
def test_mixup_mixes_the_chosen_loss(loss, deferred):
    method, batch = build("mixup", loss=loss), digits_like()
    order = torch.tensor([2, 3, 4, 5, 0, 1])
    method.rng, method.progress = RecordedRNG(0.25, order), Progress(0, 1, deferred=deferred)
    logits = method.network(mix(batch.images, batch.images[order], 0.25))
    own, other = (
        base_loss(loss, logits, labels, COUNTS, deferred=deferred)
        for labels in (batch.labels, batch.labels[order])
    )
    torch.testing.assert_close(method.training_loss(batch), 0.25 * own + 0.75 * other)
    assert own != other


class Pooled(nn.Module):
    """The small network of the MiSLAS oracle."""

    def __init__(self, oracle):
        super().__init__()
        outputs, inputs, size, _ = oracle["in/conv_weight"].shape
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.conv.weight.data = oracle["in/conv_weight"]
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(self.bn, name).data = oracle[f"in/bn_{name}"]

    def forward(self, images):
        return self.bn(self.conv(images)).relu().mean(dim=(2, 3))


def mislas_second_stage(oracle):
    h = oracle.hparams
    method = build(
        "mislas",
        oracle["in/counts"],
        smooth_head=h["smooth_head"],
        smooth_tail=h["smooth_tail"],
        shape=h["shape"],
        shift_bn=h["shift_bn"],
        classifier_lr=h["lr_factor"],
    )
    classes, width = oracle["in/fc_weight"].shape
    classifier = LearnableScale(width, classes)
    classifier.weight.data, classifier.bias.data = oracle["in/fc_weight"], oracle["in/fc_bias"]
    method.network = Network(Pooled(oracle), classifier).double()
    method.stage = method.stages[1]
    method.on_stage_start(method.stage)
    return method.train()


@pytest.mark.oracle("mislas_stage2", has=["loss_per_batch"])
def test_mislas_second_stage(oracle):
    h, method = oracle.hparams, mislas_second_stage(oracle)
    settings = Optimizer(lr=h["lr"], momentum=h["momentum"], weight_decay=h["weight_decay"])
    optimizer = build_optimizer(settings, method)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx(
        [float(oracle["lr_classifier"]), float(oracle["lr_lws"])]
    )
    stepper = Stepper(optimizer, torch.Tensor.backward)
    for step, labels in enumerate(oracle["in/labels"]):
        loss = method.training_loss(batch_of(oracle["in/images"][step], labels))
        torch.testing.assert_close(loss, oracle["loss_per_batch"][step], **EXACT)
        stepper.step(loss)
    backbone, classifier = method.network.backbone, method.network.classifier
    torch.testing.assert_close(backbone.bn.running_mean, oracle["bn_running_mean"], **EXACT)
    torch.testing.assert_close(backbone.bn.running_var, oracle["bn_running_var"], **EXACT)
    torch.testing.assert_close(classifier.weight.data, oracle["fc_weight"], **EXACT)
    torch.testing.assert_close(classifier.bias.data, oracle["fc_bias"], **EXACT)
    torch.testing.assert_close(classifier.scale.data, oracle["learned_norm"].flatten(), **EXACT)
    logits = method.eval().predict(oracle["in/images"][0])
    torch.testing.assert_close(logits, oracle["eval_logits_batch0"], **EXACT)


@pytest.mark.parametrize("key", ["crt", "lws", "tau_norm_learned"])
@pytest.mark.oracle("mislas_stage2", has=["loss_per_batch"])
def test_a_frozen_backbone_updates_batchnorm_with_update_bn(oracle, key):
    method = build(key, oracle["in/counts"], update_bn=oracle.hparams["shift_bn"])
    classes, width = oracle["in/fc_weight"].shape
    kinds = {"crt": nn.Linear, "lws": LearnableScale, "tau_norm_learned": TauNormalized}
    method.network = Network(Pooled(oracle), kinds[key](width, classes)).double()
    method.on_stage_start(method.stage)
    method.train()
    for images, labels in zip(oracle["in/images"], oracle["in/labels"], strict=True):
        method.training_loss(batch_of(images, labels)).backward()
    backbone = method.network.backbone
    torch.testing.assert_close(backbone.bn.running_mean, oracle["bn_running_mean"], **EXACT)
    torch.testing.assert_close(backbone.bn.running_var, oracle["bn_running_var"], **EXACT)
    assert all(p.grad is None for p in backbone.parameters())


def test_crt_and_lws_update_batchnorm_and_a_learned_tau_does_not():
    methods = ("crt", "lws", "tau_norm_learned")
    assert [build(key).hparams.update_bn for key in methods] == [True, True, False]


def test_mislas_trains_all_but_scales_then_scales_and_a_slow_classifier():
    method = build("mislas", classifier_lr=0.25)
    method.on_stage_start(method.stage)
    rates = {p: method.lr_scale(p) for p, v in method.named_parameters() if v.requires_grad}
    assert set(rates.values()) == {1.0}
    assert "network.backbone.conv1.weight" in rates
    assert "network.classifier.scale" not in rates

    method = build("mislas", classifier_lr=0.25)
    method.stage = method.stages[1]
    method.on_stage_start(method.stage)
    assert {p: method.lr_scale(p) for p, v in method.named_parameters() if v.requires_grad} == {
        "network.classifier.scale": 1.0,
        "network.classifier.weight": 0.25,
        "network.classifier.bias": 0.25,
    }


@pytest.mark.oracle("causal_tde", has=["tde_logits"])
def test_causal_tde(oracle):
    h, weight = oracle.hparams, oracle["weight"]
    method = build(
        "causal_tde",
        torch.arange(len(weight)) + 1,
        heads=h["num_head"],
        scale=h["tau"],
        gamma=h["gamma"],
        mu=h["mu"],
        alpha=h["alpha"],
    )
    classes, width = weight.shape
    classifier = CausalNormClassifier(width, classes, h["num_head"], h["tau"], h["gamma"])
    classifier.weight.data = weight
    method.network = Network(nn.Identity(), classifier)
    method.mean = torch.zeros(width).double()
    for features, mean in zip(
        oracle["train_feature_batches"], oracle["embed_mean_after_each_batch"], strict=True
    ):
        method.training_loss(batch_of(features, oracle["labels"]))
        torch.testing.assert_close(method.mean, mean, **EXACT)
    logits = method.predict(oracle["test_features"])
    torch.testing.assert_close(logits, oracle["tde_logits"], **EXACT)
    torch.testing.assert_close(method.mean, oracle["embed_mean_after_each_batch"][-1], **EXACT)


@pytest.mark.oracle("bbn_branches", has=["nparams_bbn_resnet32_backbone"])
def test_causal_heads_have_their_own_last_block_on_cifar(oracle):
    method = METHODS["causal_tde"](NetworkSpec("resnet32", classes=4), COUNTS).eval()
    backbone, images = method.network.backbone, torch.randn(2, 3, 32, 32)
    size = sum(p.numel() for p in backbone.parameters())
    assert size == int(oracle["nparams_bbn_resnet32_backbone"])
    features = method.network.features(images)
    assert features.shape == (2, 128)
    for head, mine in enumerate(features.chunk(2, dim=1)):
        torch.testing.assert_close(mine, backbone.features_of(head, images))


def test_causal_heads_share_the_features_of_other_backbones():
    method = METHODS["causal_tde"](NetworkSpec("resnet10t", classes=4), COUNTS)
    assert method.mean.shape == (512,)
    assert sum(p.numel() for p in method.network.backbone.parameters()) == sum(
        p.numel() for p in build_backbone(NetworkSpec("resnet10t", classes=4))[0].parameters()
    )


@pytest.mark.parametrize(
    ("lr", "mu"), [(0.2, 0.9), (0.02, 0.9), (0.01, 0.95), (0.002, 0.99), (0.0, 1.0)]
)
def test_the_mean_feature_decays_less_at_low_rates(lr, mu):
    """1 - 0.1 min(50 lr, 1), as in the authors' code."""
    method, batch = build("causal_tde", mu_lr=0.02), digits_like()
    method.mean.fill_(1.0)
    method.progress = Progress(0, 1, deferred=False, lr=lr)
    method.training_loss(batch)
    features = method.network.features(batch.images)
    torch.testing.assert_close(method.mean, mu + features.mean(dim=0).detach())
    assert method.mu == pytest.approx(1 - 0.1 * min(50 * lr, 1))
    assert build("causal_tde").mu == 0.9


def test_the_mean_feature_is_saved_with_the_weights():
    method = build("causal_tde")
    method.training_loss(digits_like())
    assert method.state_dict()["mean"].any()


def test_paco_pushes_keys_and_updates_the_momentum_encoder():
    method = build("paco", queue=16, momentum=0.9)
    network, batch = method.network, digits_like()
    copy, own = network.copy.encoder[0].conv1.weight, network.backbone.conv1.weight
    own.data += 1  # as a start would be loaded
    method.on_stage_start(method.stage)
    assert copy.equal(own)
    own.data += 1
    method.training_loss(Batch(torch.stack([batch.images] * 2), batch.labels, batch.index))
    torch.testing.assert_close(copy, own - 0.9)
    assert network.queue.labels[:6].equal(batch.labels)
    torch.testing.assert_close(network.queue.keys[:6].norm(dim=1), torch.ones(6).double())


def test_oltr_starts_with_class_means_and_stage_1_features():
    start, method, batch = build("softmax"), build("oltr"), digits_like()
    method.init_from_weights(start.state_dict())
    method.on_stage_start(method.stage)
    features = start.network.features(batch.images)
    torch.testing.assert_close(method.network.features(batch.images), features)
    method.counts = torch.bincount(batch.labels)
    with torch.inference_mode():
        method.update_statistics(batch)
        method.finalize_statistics()
    means = torch.stack([features[batch.labels == label].mean(dim=0) for label in range(4)])
    torch.testing.assert_close(method.memory.centroids.data, means)

    memory = build("oltr")
    memory.init_from_weights(method.state_dict())
    memory.stage = memory.stages[1]
    memory.on_stage_start(memory.stage)
    states = memory.state_dict(), method.state_dict()
    assert all(states[0][name].equal(states[1][name]) for name in states[1])
    assert {memory.lr_scale(name) for name, _ in memory.named_parameters()} == {0.1, 1.0}
    sum(memory.training_loss(batch).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in memory.parameters())


def test_oltr_selects_memory_by_the_stage_1_classifier():
    start, fresh, method = (build(key) for key in ("softmax", "oltr", "oltr"))
    method.init_from_weights(start.state_dict())
    hallucinator = method.memory.hallucinator
    assert hallucinator.weight.equal(start.network.classifier.weight)
    assert hallucinator.bias.equal(start.network.classifier.bias)
    method.init_from_weights(build("cosine").state_dict())
    assert hallucinator.bias.equal(start.network.classifier.bias)  # which cosines do not have
    method.init_from_weights(fresh.state_dict())
    assert hallucinator.weight.equal(fresh.memory.hallucinator.weight)


@pytest.mark.parametrize("backbone", ["resnet8", "fastnet", "resnet10t", "convnext_atto"])
def test_oltr_and_paco_build_on_every_kind_of_backbone(backbone):
    spec, images = NetworkSpec(backbone, classes=4), torch.randn(2, 3, 32, 32)
    for key in ("oltr", "paco"):
        method = METHODS[key](spec, COUNTS).eval()
        with torch.inference_mode():
            assert method.predict(images).shape == (2, 4)


@pytest.mark.oracle("classifiers", has=["features"])
def test_tau_is_the_one_that_classifies_best(oracle):
    features, weight, labels = oracle["features"], oracle["weight"], oracle["labels"]
    method = build("tau_norm_validated", torch.arange(len(weight)) + 1)
    classifier = nn.Linear(weight.shape[1], len(weight)).double()
    classifier.weight.data = weight.clone()
    method.network = Network(nn.Identity(), classifier)
    with torch.inference_mode():
        method.tune_on_validation([batch_of(features, labels)])

    def accuracy(logits):
        right = logits.argmax(dim=1) == labels
        return torch.stack([right[labels == k].double().mean() for k in labels.unique()]).mean()

    norms = weight.norm(dim=1, keepdim=True)
    best = max(accuracy(features @ (weight / norms ** (step / 10)).T) for step in range(21))
    assert accuracy(method.predict(features)) == best
    torch.testing.assert_close(classifier.weight.data, weight / norms**method.tau)
    assert not classifier.bias.any()
