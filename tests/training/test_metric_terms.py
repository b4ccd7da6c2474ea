"""Losses that compare images of a class: what a job counts, and when it ends."""

from fractions import Fraction

import pytest

from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.training import fit
from ltbench.training.metric_terms import InactiveTermError, check_terms
from tests.support.training_jobs import job, options


def test_a_record_has_the_steps_in_which_a_term_was_active(tmp_path):
    run_dir, one = RunDirectory(tmp_path), job("range_loss", epochs=2)
    training = fit.run_job(one, run_dir, options()).training
    steps = training.steps
    assert training.active_steps == {"intra": (steps, steps), "inter": (steps, steps)}
    assert training.active_shares["intra"] == Fraction(1)
    assert "classes" not in training.active_shares
    assert read_record(record_path(run_dir.records, one)).training == training


def test_a_method_without_metric_terms_has_none_in_its_record(tmp_path):
    run_dir, one = RunDirectory(tmp_path), job(epochs=1)
    assert fit.run_job(one, run_dir, options()).training.active_steps is None
    assert "active_steps" not in record_path(run_dir.records, one).read_text()


def test_a_term_that_is_zero_in_a_whole_epoch_ends_the_job(tmp_path):
    run_dir, one = RunDirectory(tmp_path), job("range_loss", hparams={"intra_weight": 0.0})
    with pytest.raises(InactiveTermError, match=r"loss 'intra' of range_loss .* epoch 1: take sev"):
        fit.run_job(one, run_dir, options())
    assert not record_path(run_dir.records, one).exists()


def test_the_error_names_all_terms_and_one_active_step_is_enough():
    check_terms("mine", 3, {"pull": (1, 9), "push": (9, 9)}, {})
    with pytest.raises(InactiveTermError, match="'pull' and 'push' of mine was zero in all 9 st"):
        check_terms("mine", 3, {"pull": (0, 9), "push": (0, 9)}, {"pull": (0, 7)})


def test_a_term_that_was_active_may_reach_its_margin():
    check_terms("mine", 3, {"pull": (0, 9)}, {"pull": (1, 18)})
