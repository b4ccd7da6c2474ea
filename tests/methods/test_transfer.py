"""Whole transfer and augmentation methods against the authors' numbers, and further properties."""

import pytest
import torch
from torch import nn

from ltbench.augment import turned
from ltbench.config.load import load_recipe
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import total_loss
from ltbench.methods import METHODS
from ltbench.methods.contract import EpochDraw, Progress, TrainedTeacher
from ltbench.networks import NetworkSpec
from ltbench.networks.partial import PartialNetwork
from ltbench.testing.jobs import Bench, Case

EXACT = {"rtol": 1e-9, "atol": 1e-12}
COUNTS = torch.tensor([40, 12, 5, 1])
GROUPS = {"many": [0], "medium": [1, 2], "few": [3]}
KINDS = {"resnet8": 16, "test_resnet": 32, "test_convnext": 32, "test_vit": 160}


def build(key, counts=COUNTS, backbone="resnet8", norm="batch", **hparams):
    torch.manual_seed(0)
    kind = METHODS[key]
    return kind(
        NetworkSpec(backbone, classes=len(counts), norm=norm), counts, kind.HParams(**hparams)
    )


class FixedLogits(nn.Module):
    """A network with given logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits


@pytest.mark.oracle("lfme", level="case")
def test_lfme(oracle):
    hparams, groups = oracle.hparams, ("low", "median", "many")
    labels = oracle["labels"].long()
    method = build(
        "lfme", oracle["counts"], temperature=hparams["T"], decay_from=hparams["decay_thresh"]
    ).double()
    method.network = nn.Identity()
    for group in groups:
        logits = FixedLogits(oracle[f"expert_logits_{group}_shot"])
        method.panel.append(PartialNetwork(logits, oracle[f"classes_{group}_shot"].long()))
    method.ease = oracle["batch_w0"]
    epoch = Progress(hparams["epoch_1based"] - 1, hparams["total_epochs"], deferred=False)
    accuracies = oracle["student_acc_low_median_many"], oracle["expert_val_acc_low_median_many"]
    images = torch.full((3,), 100, dtype=torch.float64)
    method.tally.copy_(torch.stack([images, *(100 * of for of in accuracies)], dim=1).round())
    method.progress = epoch
    method.on_epoch_start(epoch)

    student = oracle["student_logits"].requires_grad_()
    losses = method.training_loss(Batch(student, labels, torch.arange(len(labels))))
    torch.testing.assert_close(losses["classes"], oracle["loss_perf"], **EXACT)
    divergences = torch.stack([losses[f"expert {i}"] for i in range(3)]).sum()
    torch.testing.assert_close(divergences, oracle["loss_distill_total"], **EXACT)
    loss = total_loss(losses)
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, oracle["grad_student"], rtol=1e-8, atol=1e-12)


def with_experts(groups=GROUPS, **changes):
    """Return LFME with trained experts, and their states."""
    method = build("lfme", **changes)
    teachers = []
    for classes in groups.values():
        expert = build("softmax", COUNTS[classes], **changes)
        for parameter in expert.parameters():
            nn.init.normal_(parameter, std=0.3)
        teachers.append(TrainedTeacher(expert.state_dict(), torch.tensor(classes)))
    method.load_teachers(teachers)
    return method, teachers


def batch(size=8, images=16):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(size) % len(COUNTS)
    return Batch(torch.randn(size, 3, images, images, generator=generator), labels, labels + 10)


def with_statistics(method, one):
    with torch.inference_mode():
        method.eval().update_statistics(one)
        method.finalize_statistics()
    return method.train()


def test_lfme_loads_its_experts_and_does_not_train_them():
    method, teachers = with_experts()
    one = batch()
    for expert, (teacher, classes) in zip(
        method.train().experts, zip(teachers, GROUPS.values(), strict=True), strict=True
    ):
        alone = build("softmax", COUNTS[classes])
        alone.load_state_dict(teacher.weights)
        assert expert.classes.tolist() == classes
        assert expert(one.images).equal(alone.eval().predict(one.images))
    assert not any(p.requires_grad for p in method.panel.parameters())


def test_experts_have_the_precision_they_were_trained_in():
    method = build("lfme").double()
    expert = build("softmax", COUNTS[[3]]).double()
    method.load_teachers([TrainedTeacher(expert.state_dict(), torch.tensor([3]))])
    assert method.experts[0](torch.randn(2, 3, 16, 16).double()).dtype == torch.float64


def training_set():
    """Return the whole training set of COUNTS, in its order."""
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), COUNTS)
    return Batch(torch.zeros(len(labels)), labels, torch.arange(len(labels)))


def with_fixed_logits(*groups):
    """Return LFME with experts of given logits, one per group of classes."""
    method = build("lfme")
    for classes in groups:
        logits = FixedLogits(torch.randn(int(COUNTS.sum()), len(classes)))
        method.panel.append(PartialNetwork(logits, torch.tensor(classes)))
    return method


def test_lfme_starts_with_the_easy_images_of_large_classes():
    method = with_fixed_logits([0, 1], [2, 3])
    with_statistics(method, training_set())
    ease, labels = method.ease, training_set().labels
    for k, least in enumerate((3 / 26, 3 / 26, 1.0, 1.0)):  # mean images a class: 26 and 3
        assert ease[labels == k].max() == 1
        assert float(ease[labels == k].min()) == pytest.approx(least if COUNTS[k] > 1 else 1.0)
    confidence = method.experts[0].network.logits.softmax(dim=1)[:40, 0]
    assert ease[:40].argsort().equal(confidence.argsort())


def test_without_a_group_the_others_teach():
    method = with_fixed_logits([0, 1, 2, 3])
    with_statistics(method, training_set())
    assert method.ease.eq(1).all()  # the smallest group's images are all easy
    method.network = nn.Identity()
    few = Batch(torch.randn(58, 4), training_set().labels, training_set().index)
    assert list(method.training_loss(few)) == ["classes", "expert 0"]
    nobody = build("lfme")
    assert list(with_statistics(nobody, batch()).training_loss(batch())) == ["classes"]


def test_lfme_counts_hits_and_lowers_the_weight_of_reached_experts():
    method = build("lfme")
    method.network = nn.Identity()
    expert = FixedLogits(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
    method.panel.append(PartialNetwork(expert, torch.tensor([1, 3])))
    labels = torch.tensor([1, 1, 3, 0])
    student = 5.0 * nn.functional.one_hot(torch.tensor([1, 3, 3, 0]), 4)
    method.training_loss(Batch(student, labels, labels))
    assert method.tally.tolist() == [[3, 2, 2], [0, 0, 0], [0, 0, 0]]
    method.on_epoch_start(Progress(1, 4, deferred=False))
    assert method.weights.tolist() == [
        0.0,
        1.0,
        1.0,
    ]  # the student is as good; nobody else was seen
    assert not method.tally.any()


def test_lfme_counts_hits_on_held_out_images_after_each_epoch():
    bench, jobs = Bench(), Case("lfme", {"accuracies": "validation"}).jobs(norm="batch")
    record = bench.train(jobs)
    tally = bench.state(jobs[-1])["tally"]
    assert tally[:, 0].sum() == sum(record.split.auxiliary_counts) > 0
    assert (tally[:, 1:] <= tally[:, :1]).all()
    plain = Case("lfme").jobs(norm="batch")
    assert all(job.dataset.auxiliary is None for job in plain)
    assert all(job.dataset.auxiliary is not None for job in jobs)


@pytest.mark.parametrize("backbone", KINDS)
def test_lfme_trains_on_every_kind_of_backbone(backbone):
    method, _ = with_experts(backbone=backbone)
    one = batch(images=KINDS[backbone])
    total_loss(with_statistics(method, one).training_loss(one)).backward()
    idle = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    assert method.eval().predict(one.images).shape == (8, 4)


@pytest.mark.oracle("ssp", level="case")
def test_ssp_rotates_images_and_predicts_the_rotation(oracle):
    images, turns = oracle["images"], oracle["rotation_labels"].long()
    assert turned(images, turns).equal(oracle["rotated_images"])
    method = build("ssp").double()
    method.network = nn.Sequential(nn.Flatten(), nn.Linear(75, 4, bias=False))
    method.network[1].weight = nn.Parameter(oracle["rot_W"])
    logits = method.network(turned(images, turns))
    torch.testing.assert_close(logits, oracle["rot_logits"], **EXACT)
    loss = nn.functional.cross_entropy(logits, turns)
    torch.testing.assert_close(loss, oracle["rot_ce"], **EXACT)
    (expected,) = torch.autograd.grad(loss, method.network[1].weight)

    method.rng = ChosenRNG(turns)
    value = method.training_loss(Batch(images, turns, turns))
    (gradient,) = torch.autograd.grad(value, method.network[1].weight)
    torch.testing.assert_close(value, oracle["rot_ce"], **EXACT)
    torch.testing.assert_close(gradient, expected, **EXACT)


class ChosenRNG(GlobalBatchRNG):
    """Permutations that a test chooses."""

    def __init__(self, order):
        super().__init__(torch.Generator())
        self.order = order

    def permutation(self, samples):
        return self.order


def unlabeled(task, size=16):
    """Return a batch with the views of a task."""
    generator = torch.Generator().manual_seed(1)
    shape = (size, 3, 16, 16) if task == "rotation" else (2, size, 3, 16, 16)
    views = torch.randn(shape, generator=generator)
    return Batch(views, torch.zeros(size, dtype=torch.int64), torch.arange(size))


def ssp(task, norm="batch", **hparams):
    sizes = {"queue": 12, "width": 8} if task == "moco" else {}
    method = build("ssp", norm=norm, task=task, **sizes, **hparams)
    method.on_stage_start(method.stage)
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    return method.train()


@pytest.mark.parametrize("task", ["rotation", "moco"])
def test_ssp_uses_no_labels(task):
    losses = []
    for label in (0, 3):
        one = unlabeled(task)
        one.labels += label
        losses.append(ssp(task).training_loss(one))
    assert losses[0].equal(losses[1])


def test_all_rotations_are_equally_frequent():
    seen = []
    method = ssp("rotation")
    method.network = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    method.network.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    one = unlabeled("rotation")
    method.training_loss(one)
    turns = [
        next(t for t in range(4) if given.equal(image.rot90(t, dims=(1, 2))))
        for given, image in zip(seen[0], one.images, strict=True)
    ]
    assert sorted(turns) == sorted([0, 1, 2, 3] * 4)
    assert turns != sorted(turns)


def test_keys_belong_to_their_images_after_shuffling():
    method = ssp("moco", norm="group")
    images = unlabeled("moco").images[1]
    found = method.slow.shuffled(images, method.rng, method.hparams.norm_groups)
    torch.testing.assert_close(found, method.slow(images))


def test_keys_are_normalized_in_parts_of_the_shuffled_batch():
    images = unlabeled("moco").images[1]
    keys = {}
    for groups in (1, 4):
        method = ssp("moco")
        keys[groups] = method.slow.shuffled(images, method.rng, groups)
    assert not torch.allclose(keys[1], keys[4])
    order = GlobalBatchRNG(make_generator(0, "method", 0)).permutation(images)
    part = order[4:8]  # the second of four parts
    torch.testing.assert_close(keys[4][part], method.slow(images[part]))


def test_ssp_contrasts_with_the_queue_of_former_batches():
    method = ssp("moco", norm="group", temperature=0.5, momentum=0.9)
    one = unlabeled("moco")
    before = method.queue.keys.clone()
    loss = method.training_loss(one)
    queries = nn.functional.normalize(method.network(one.images[0]))
    keys = method.slow(one.images[1])
    similarities = torch.cat([(queries * keys).sum(dim=1, keepdim=True), queries @ before.T], dim=1)
    expected = nn.functional.cross_entropy(similarities / 0.5, torch.zeros(16, dtype=torch.int64))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(method.queue.keys.roll(-int(method.queue.position), 0), keys[-12:])


def test_ssp_transfers_only_its_backbone():
    method = ssp("moco")
    start = method.state_dict()
    for key in ("softmax", "paco", "oltr", "lfme"):
        other = build(key)
        torch.manual_seed(3)
        classifier = {n: v.clone() for n, v in other.state_dict().items() if "classifier" in n}
        other.init_from_weights(start)
        own = other.state_dict()
        for name, value in method.network.backbone.state_dict().items():
            assert own[f"network.backbone.{name}"].equal(value), name
        assert all(own[name].equal(value) for name, value in classifier.items())


@pytest.mark.parametrize("task", ["rotation", "moco"])
@pytest.mark.parametrize("backbone", KINDS)
def test_ssp_trains_every_kind_of_backbone(backbone, task):
    sizes = {"queue": 12, "width": 8, "norm_groups": 2} if task == "moco" else {}
    method = build("ssp", backbone=backbone, task=task, **sizes)
    method.on_stage_start(method.stage)
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    size = KINDS[backbone]
    images = torch.randn(len(method.stage.views), 8, 3, size, size).squeeze(0)
    method.train().training_loss(Batch(images, torch.arange(8), torch.arange(8))).backward()
    idle = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle


def dive_on_logits(oracle, form):
    """Return DiVE whose network returns its images, with a case's teacher."""
    hparams = {name: float(oracle[f"{form}_hp_{name}"]) for name in ("T", "alpha", "power")}
    method = build("dive", oracle["counts"].long(), temperature=hparams.pop("T"), **hparams)
    method.network = nn.Identity()
    method.teacher.network = FixedLogits(oracle["teacher_logits"])
    return method


@pytest.mark.oracle("ssd_dive", has=["dive_p05_loss", "dive_nopow_loss"])
@pytest.mark.parametrize("form", ["dive_p05", "dive_nopow"])
def test_dive(oracle, form):
    """The file's student has the logits of the head that SSD distills."""
    labels = oracle["labels"].long()
    student = oracle["student_kd_head_logits"].requires_grad_()
    method = dive_on_logits(oracle, form)
    losses = method.training_loss(Batch(student, labels, labels))
    own = (1 - method.hparams.alpha) * oracle[f"{form}_bsce"]
    torch.testing.assert_close(losses["labels"], own, rtol=1e-8, atol=1e-12)
    loss = total_loss(losses)
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(loss, oracle[f"{form}_loss"], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(gradient, oracle[f"{form}_grad_student"], rtol=1e-8, atol=1e-12)


def test_dive_without_distillation_is_balanced_softmax():
    one = batch()
    losses = build("dive", alpha=0.0).training_loss(one)
    assert losses["labels"].equal(build("balanced_softmax").training_loss(one))
    assert losses["distillation"] == 0


def test_dive_is_taught_by_balanced_softmax():
    (teacher,) = METHODS["dive"].teachers
    assert (teacher.method, teacher.hparams, teacher.subset) == ("balanced_softmax", {}, "all")


def test_dive_loads_its_teacher_and_does_not_train_it():
    teacher = build("balanced_softmax")
    nn.init.normal_(teacher.network.classifier.weight)
    method = build("dive")
    method.load_teachers([TrainedTeacher(teacher.state_dict(), torch.arange(4))])
    one = batch()
    assert method.train().teacher.predict(one.images).equal(teacher.eval().predict(one.images))
    assert not method.teacher.training
    total_loss(method.training_loss(one)).backward()
    assert not any(p.requires_grad or p.grad is not None for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.network.parameters())


def long_tailed(largest, ratio, classes):
    sizes = [int(largest * ratio ** (-k / (classes - 1))) for k in range(classes)]
    return torch.tensor(sizes)


def subset(method, seed=0, epoch=0):
    """Return the training images of an epoch of DSTL, and the class of every image."""
    labels = torch.repeat_interleave(torch.arange(len(method.counts)), method.counts)
    (index,) = method.epoch_indices(EpochDraw(labels, epoch, 2, 16, seed)).values()
    return index.flatten(), labels


@pytest.mark.parametrize(
    ("counts", "per_class"),
    [
        (long_tailed(500, 100, 100), 20),  # CIFAR-100-LT: the quantile is 15
        (long_tailed(5000, 100, 10), 139),  # CIFAR-10-LT
        (torch.full((7,), 30), 30),
        (torch.full((7,), 3), 20),
    ],
)
def test_dstl_caps_classes_at_the_size_of_a_small_one(counts, per_class):
    method = build("dstl", counts)
    assert method.per_class == per_class
    index, labels = subset(method)
    found = torch.bincount(labels[index.unique()], minlength=len(counts))
    assert (found <= per_class).all()
    passes = len(index) / float(counts.clamp(max=per_class).sum())
    if passes >= 1:
        assert found.equal(counts.clamp(max=per_class))
    assert (torch.bincount(index)[index.unique()].max()) <= passes + 1


def test_the_subset_of_dstl_is_the_same_for_all_epochs_and_seeds_in_another_order():
    method = build("dstl", torch.tensor([200, 60, 20, 10]))
    (first, _), (second, _), (other, _) = (subset(method, *s) for s in ((0, 0), (0, 1), (1, 0)))
    assert first.unique().equal(second.unique())
    assert first.unique().equal(other.unique())
    assert not first.equal(second)
    assert not first.equal(other)


def test_dstl_tunes_for_a_tenth_of_the_epochs_at_a_tenth_of_the_rate():
    recipe, stage = load_recipe("cifar_200").stage1, build("dstl").stage
    tuned = recipe.scaled(stage.epochs_scale, stage.lr_scale)
    assert (tuned.epochs, tuned.schedule.milestones) == (20, (16, 18))
    assert tuned.optimizer.lr == pytest.approx(0.1 * recipe.optimizer.lr)


def test_dstl_begins_as_its_start_and_trains_all_of_it():
    start = build("softmax").state_dict()
    method = build("dstl")
    method.init_from_weights(start)
    method.on_stage_start(method.stage)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert before.keys() == start.keys()
    assert all(value.equal(start[name]) for name, value in before.items())
    assert all(parameter.requires_grad for parameter in method.parameters())
    one = batch()
    loss = method.train().training_loss(one)
    moved = {n for n, value in method.state_dict().items() if not value.equal(before[n])}
    assert moved == {n for n in before if "running" in n or "num_batches" in n}  # at rate 0
    plain = build("softmax")
    plain.load_state_dict(start)
    assert loss.equal(plain.train().training_loss(one))
