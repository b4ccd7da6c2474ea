"""What every method promises, through the training and testing that a run does."""

import logging
import math

import pytest
import torch

from ltbench.config.models import Job
from ltbench.core.batch import Batch
from ltbench.core.groups import subset_classes
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import total_loss
from ltbench.data.evaluation_data import part_of_dataset
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress, TrainedTeacher
from ltbench.networks import NetworkSpec
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.training.inference import evaluate, restore
from tests.support.gloo_ranks import Ranks, ranks
from tests.support.method_jobs import (
    BATCH,
    CASES,
    DATASET,
    EPOCHS,
    Bench,
    batchnorm_after_averaging,
    chain,
    joined_when_counting_attempts,
    largest_difference,
    train,
    train_in_turn,
    train_interrupted,
    train_stopped,
    try_few_images,
)
from tests.support.training_jobs import weights

log = logging.getLogger(__name__)

CLASSES = 4
RTOL = 1e-9

STAGES = [
    pytest.param(case, number, id=f"{case}-{stage.name}")
    for case, (key, _) in CASES.items()
    for number, stage in enumerate(METHODS[key].stages)
]
PER_RANK = [key for key, method in METHODS.items() if method.batch_dependence == "per_rank"]
TWO_RANKS = [
    pytest.param(*stage.values, 2, BATCH, id=f"{stage.id}-2")
    for stage in STAGES
    if stage.values[0] not in PER_RANK
]
# One image a rank, in more steps than Lightning sees as one.
FOUR_RANKS = [
    pytest.param(key, -1, 4, 4, id=f"{key}-4") for key in ("softmax", "ldam_drw", "crt", "ncm")
]
EQUAL = [key for key, method in METHODS.items() if method.reduces_to]


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


def stage_of(case, stage):
    key, _ = CASES[case]
    return METHODS[key].stages[stage]


def trains(case, stage):
    return stage_of(case, stage).is_trained


@pytest.mark.parametrize(("key", "stage"), STAGES)
def test_trains_to_a_valid_record(key, stage, bench):
    jobs = chain(key, stage)
    record, job = bench.train(jobs), jobs[-1]
    assert read_record(record_path(bench.run_dir.records, job)) == record
    assert record.split.train_counts[-1] == 1
    assert (record.test is None) == (not stage_of(key, stage).is_evaluated)
    assert all(value.isfinite().all() for value in bench.state(job).values())
    if trains(key, stage):
        assert len(record.training.losses) == EPOCHS
        assert all(map(math.isfinite, record.training.losses))
        assert record.training.steps == EPOCHS * (sum(record.split.train_counts) // BATCH)
    else:
        assert record.training is None


@pytest.mark.parametrize(("key", "stage"), STAGES)
def test_trains_under_autocast(key, stage, bench):
    jobs = chain(key, stage, norm="batch", precision="bf16", channels_last=True)
    record, job = bench.train(jobs), jobs[-1]
    state = bench.state(job).values()
    assert all(value.isfinite().all() for value in state)
    assert not any(value.dtype == torch.bfloat16 for value in state)
    if record.test is not None:
        assert record.test.totals == bench.train(chain(key, stage)).test.totals


@pytest.mark.parametrize(("key", "stage"), STAGES)
def test_its_weights_are_all_that_a_test_needs(key, stage, bench):
    if not stage_of(key, stage).is_evaluated:
        pytest.skip("this stage predicts no classes")
    jobs = chain(key, stage)
    record, job = bench.train(jobs), jobs[-1]
    method = restore(record, bench.run_dir.job(job.key).weights)
    images = part_of_dataset(DATASET, "test", job.split)
    assert evaluate(method, record, images, torch.device("cpu")) == record.test


@pytest.mark.parametrize(("key", "stage"), STAGES)
def test_an_interrupted_job_ends_like_an_unbroken_one(key, stage, bench, tmp_path):
    job = bench.lend_starts(chain(key, stage), tmp_path)
    assert train_interrupted(job, tmp_path) == int(trains(key, stage))
    if trains(key, stage):
        train_stopped(job, tmp_path, 2)  # two steps into the second epoch
    record, hashes = train(job, tmp_path)
    assert len(hashes) == (EPOCHS - 1 if trains(key, stage) else 0)
    assert record.cost.attempts == 2 + trains(key, stage)
    assert record.numbers() == bench.records[job.key].numbers()
    assert weights(RunDirectory(tmp_path), job.key) == weights(bench.run_dir, job.key)


@pytest.mark.parametrize(("key", "stage", "world", "batch"), TWO_RANKS + FOUR_RANKS)
def test_ranks_agree_with_one_process(key, stage, world, batch, bench, tmp_path):
    job = bench.lend_starts(chain(key, stage, batch_size=batch), tmp_path)
    alone = bench.records[job.key]
    answers = ranks(world)(train, job, tmp_path)
    record, hashes = answers[0]
    for other, same_hashes in answers:
        assert other.numbers() == record.numbers()
        assert same_hashes == hashes
    assert len(hashes) == (EPOCHS if trains(key, stage) else 0)

    assert record.cost.devices == world
    for field in ("hits", "totals", "correct"):
        assert getattr(record.test, field, None) == getattr(alone.test, field, None)
    assert record.shifted == alone.shifted
    if trains(key, stage):
        assert record.training.losses == pytest.approx(alone.training.losses, rel=RTOL, abs=0)
    difference = largest_difference(Bench(tmp_path).state(job), bench.state(job))
    log.info("largest relative difference: %.1e", difference)
    assert difference <= RTOL


def test_ranks_augment_alike(bench, tmp_path):
    policy = {"kind": "randaugment", "cutout": 2}
    (job,) = chain("softmax", policy=policy)
    alone = bench.train([job])
    assert alone.training != bench.train(chain("softmax")).training
    (record, hashes), (_, same_hashes) = ranks(2)(train, job, tmp_path)
    assert hashes == same_hashes
    assert record.training.losses == pytest.approx(alone.training.losses, rel=RTOL, abs=0)


@pytest.mark.parametrize("key", ["softmax", "crt", "lws", *PER_RANK])
def test_coupling_within_a_rank_is_that_of_shares_in_turn(key, bench, tmp_path):
    job = bench.lend_starts(chain(key, norm="batch"), tmp_path)
    answers = ranks(2)(train, job, tmp_path)
    assert answers[0][1] == answers[1][1]
    in_turn = train_in_turn(job, RunDirectory(tmp_path), 2)
    difference = largest_difference(Bench(tmp_path).state(job), in_turn)
    log.info("largest relative difference: %.1e", difference)
    assert difference <= RTOL
    assert largest_difference(bench.state(job), in_turn) > 1e-3  # one process couples all samples


def test_batchnorm_in_single_precision_is_equal_on_all_ranks(tmp_path):
    (job,) = chain("softmax", norm="batch", precision="fp32")
    (record, hashes), (_, same) = ranks(2)(train, job, tmp_path)
    assert hashes == same
    assert all(map(math.isfinite, record.training.losses))


def test_more_ranks_than_test_images(bench, tmp_path):
    job = bench.lend_starts(chain("ncm"), tmp_path)
    alone = try_few_images(job, tmp_path, 3)
    assert sum(alone.totals) == 3
    assert ranks(4)(try_few_images, job, tmp_path, 3) == [alone] * 4


def test_ranks_share_an_open_set(tmp_path):
    (job,) = chain("softmax", epochs=1)
    open_set = {"dataset": DATASET.model_copy(update={"open_set": "digits"})}
    job, plain = Job(**job.model_dump() | open_set), job
    assert job.key == plain.key
    alone, _ = train(job, tmp_path / "alone")
    assert alone.open_set.images == 500
    for record, _ in ranks(4)(train, job, tmp_path / "ranks"):
        assert record.open_set == alone.open_set


def test_only_batchnorm_layers_that_train_are_averaged():
    training, frozen = torch.arange(6.0).view(2, 3), torch.arange(6.0, 12).view(2, 3)
    answers = ranks(2)(batchnorm_after_averaging, training, frozen)
    for rank, (moved, kept) in enumerate(answers):
        assert moved == training.mean(0).tolist()
        assert kept == frozen[rank].tolist()


def test_ranks_resume_together(bench, tmp_path):
    job = bench.lend_starts(chain("ldam_drw"), tmp_path)
    whole = ranks(2)(train, job, tmp_path / "whole")
    assert ranks(2)(train_interrupted, job, tmp_path / "broken") == [1, 1]
    resumed = ranks(2)(train, job, tmp_path / "broken")
    for (record, hashes), (expected, all_hashes) in zip(resumed, whole, strict=True):
        assert record.numbers() == expected.numbers()
        assert hashes == all_hashes[1:]


def test_a_job_changes_its_number_of_ranks_within_an_epoch(bench, tmp_path):
    job = bench.lend_starts(chain("ldam_drw", batch_size=4), tmp_path)
    ranks(4)(train_stopped, job, tmp_path, 3)
    ranks(2)(train_stopped, job, tmp_path, 30)
    record, _ = train(job, tmp_path)
    alone = bench.records[job.key]
    assert record.cost.attempts == 3
    assert record.test.correct == alone.test.correct
    assert record.training.steps == alone.training.steps
    assert record.training.losses == pytest.approx(alone.training.losses, rel=RTOL, abs=0)
    assert largest_difference(Bench(tmp_path).state(job), bench.state(job)) <= RTOL


def test_ranks_meet_before_they_count_attempts(tmp_path):
    (job,) = chain("softmax", epochs=1)
    fresh = Ranks(2, joined=False)
    try:
        assert fresh(joined_when_counting_attempts, job, tmp_path) == [[True], [True]]
    finally:
        fresh.stop()
    assert read_record(record_path(RunDirectory(tmp_path).records, job)).cost.attempts == 1


@pytest.mark.parametrize("key", EQUAL)
def test_equal_counts_give_the_same_run_bit_for_bit(key, bench):
    ours, theirs = (chain(name, split="balanced") for name in (key, METHODS[key].reduces_to))
    record, expected = bench.train(ours), bench.train(theirs)
    assert len(set(record.split.train_counts)) == 1
    assert weights(bench.run_dir, ours[-1].key) == weights(bench.run_dir, theirs[-1].key)
    assert record.test == expected.test
    if trains(key, -1):
        assert record.training == expected.training


def step_of(method):
    """Return what the method's stage trains on: its batch, views and samplers."""
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 2, 3])
    images = torch.randn(method.stage.views, len(labels), 1, 8, 8).squeeze(0)
    batch = Batch(images, labels, torch.arange(len(labels)) % int(method.counts.sum()))
    names = method.samplers()
    return batch if len(names) == 1 else dict.fromkeys(names, batch)


@pytest.mark.parametrize("counts", [[5000, 40, 1, 1], [1, 1, 1, 1]], ids=["tail", "all"])
@pytest.mark.parametrize("case", CASES)
def test_classes_of_a_single_image(case, counts):
    torch.manual_seed(0)
    key, hparams = CASES[case]
    kind, counts = METHODS[key], torch.tensor(counts)

    def untrained(name, classes=tuple(range(CLASSES)), **hparams):
        spec = NetworkSpec("resnet8", len(classes), channels=1, norm="group")
        return METHODS[name](spec, counts[list(classes)], METHODS[name].HParams(**hparams))

    def taught(teacher):
        classes = subset_classes(teacher.subset, counts.tolist(), "rank_thirds")
        trained = untrained(teacher.method, classes, **teacher.hparams)
        return TrainedTeacher(trained.state_dict(), torch.tensor(classes))

    state = untrained(kind.init_from).state_dict() if kind.init_from else None
    for stage in kind.stages:
        method = untrained(key, **hparams)
        if state is not None:
            method.init_from_weights(state)
        method.load_teachers([taught(teacher) for teacher in kind.teachers])
        method.stage = method.stage_of(stage.name)
        method.on_stage_start(stage)
        images, labels = torch.randn(CLASSES, 1, 8, 8), torch.arange(CLASSES)
        method.eval()
        with torch.inference_mode():
            if stage.needs_statistics_pass:
                method.update_statistics(Batch(images, labels, labels))
                method.finalize_statistics()
        for epoch in range(2 if stage.is_trained else 0):
            method.train().zero_grad()
            method.progress = Progress(epoch, 2, deferred=epoch == 1)
            method.rng = GlobalBatchRNG(make_generator(0, "method", epoch))
            method.on_epoch_start(method.progress)
            loss = total_loss(method.training_loss(step_of(method)))
            loss.backward()
            gradients = [p.grad for p in method.parameters() if p.grad is not None]
            assert loss.isfinite()
            assert gradients
            assert all(gradient.isfinite().all() for gradient in gradients)
        with torch.inference_mode():
            if stage.tunes_on_validation == "end":
                method.eval().tune_on_validation([Batch(images, labels, labels)])
            if stage.is_evaluated:
                assert method.eval().predict(images).isfinite().all()
        state = method.state_dict()
