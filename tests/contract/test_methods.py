"""What every method promises, and what the suite does with its jobs on several ranks."""

import logging
import math

import pytest
import torch

from ltbench.config.job import Job
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.testing.checks import CHECKS, equals_one_process, equals_shares_in_turn
from ltbench.testing.jobs import (
    DATASET,
    Bench,
    Case,
    largest_difference,
    train,
    train_interrupted,
    train_stopped,
)
from ltbench.testing.ranks import Ranks, ranks
from tests.support.method_jobs import (
    CASES,
    batchnorm_after_averaging,
    joined_when_counting_attempts,
    try_few_images,
)

log = logging.getLogger(__name__)

STAGES = [
    pytest.param(check, case, stage, id=f"{name}-{label}-{case.method.stages[stage].name}")
    for label, case in CASES.items()
    for name, check in CHECKS.items()
    for stage in check.stages(case.method)
    if check.excuse(case.method, stage) is None
]
"""Every check of every method, of each stage where it is run for each.

Method by method: where test processes share the work, few train the same jobs again.
"""
RTOL = 1e-9


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(("check", "case", "stage"), STAGES)
def test_keeps_what_every_method_promises(check, case, stage, bench):
    log.info(check.run(bench, case, stage))


@pytest.mark.parametrize(
    ("key", "hparams"),
    [
        ("remix", {"loss": "ldam", "alpha": 0.5}),
        ("vs_loss", {"gamma": 0.7, "tau": 2.0}),
        ("equalization", {"threshold": 0.99, "gamma": 1.0}),
    ],
)
def test_equal_counts_reduce_a_method_whatever_its_hyper_parameters(key, hparams, bench):
    log.info(CHECKS["equal_counts"].run(bench, Case(key, hparams), 0))


# One image a rank, in more steps than Lightning sees as one.
@pytest.mark.parametrize("key", ["softmax", "ldam_drw", "crt", "ncm"])
def test_four_ranks_with_one_image_each_agree_with_one_process(key, bench):
    log.info(equals_one_process(bench, CASES[key], -1, world=4, batch=4))


def test_four_ranks_count_the_active_steps_of_one_process(bench):
    log.info(equals_one_process(bench, CASES["range_loss"], -1, world=4))


def test_ranks_augment_alike(bench, tmp_path):
    policy = {"kind": "randaugment", "cutout": 2}
    (job,) = CASES["softmax"].jobs(policy=policy)
    alone = bench.train([job])
    assert alone.training != bench.train(CASES["softmax"].jobs()).training
    (record, hashes), (_, same_hashes) = ranks(2)(train, job, tmp_path)
    assert hashes == same_hashes
    assert record.training.losses == pytest.approx(alone.training.losses, rel=RTOL, abs=0)


@pytest.mark.parametrize("key", ["softmax", "crt", "lws"])
def test_coupling_within_a_rank_is_that_of_shares_in_turn(key, bench):
    log.info(equals_shares_in_turn(bench, CASES[key], -1))


def test_batchnorm_in_single_precision_is_equal_on_all_ranks(tmp_path):
    (job,) = CASES["softmax"].jobs(norm="batch", precision="fp32")
    (record, hashes), (_, same) = ranks(2)(train, job, tmp_path)
    assert hashes == same
    assert all(map(math.isfinite, record.training.losses))


def test_more_ranks_than_test_images(bench, tmp_path):
    job = bench.lend_starts(CASES["ncm"].jobs(), tmp_path)
    alone = try_few_images(job, tmp_path, 3)
    assert sum(alone.totals) == 3
    assert ranks(4)(try_few_images, job, tmp_path, 3) == [alone] * 4


def test_ranks_share_an_open_set(tmp_path):
    (job,) = CASES["softmax"].jobs(epochs=1)
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
    job = bench.lend_starts(CASES["ldam_drw"].jobs(), tmp_path)
    whole = ranks(2)(train, job, tmp_path / "whole")
    assert ranks(2)(train_interrupted, job, tmp_path / "broken") == [1, 1]
    resumed = ranks(2)(train, job, tmp_path / "broken")
    for (record, hashes), (expected, all_hashes) in zip(resumed, whole, strict=True):
        assert record.numbers() == expected.numbers()
        assert hashes == all_hashes[1:]


def test_a_job_changes_its_number_of_ranks_within_an_epoch(bench, tmp_path):
    job = bench.lend_starts(CASES["ldam_drw"].jobs(batch_size=4), tmp_path)
    ranks(4)(train_stopped, job, tmp_path, 3)
    ranks(2)(train_stopped, job, tmp_path, 30)
    record, _ = train(job, tmp_path)
    alone = bench.records[job.key]
    assert record.cost.attempts == 3
    assert record.test.correct == alone.test.correct
    assert record.training.steps == alone.training.steps
    assert record.training.losses == pytest.approx(alone.training.losses, rel=RTOL, abs=0)
    gap, name = largest_difference(Bench(tmp_path).state(job), bench.state(job))
    assert gap <= RTOL, name


def test_ranks_meet_before_they_count_attempts(tmp_path):
    (job,) = CASES["softmax"].jobs(epochs=1)
    fresh = Ranks(2, joined=False)
    try:
        assert fresh(joined_when_counting_attempts, job, tmp_path) == [[True], [True]]
    finally:
        fresh.stop()
    assert read_record(record_path(RunDirectory(tmp_path).records, job)).cost.attempts == 1
