"""The rehearsal of imagenet_lt: what it plans and writes, and a variant from photographs on."""

import importlib
import sys
from dataclasses import replace

import pytest

from ltbench.config.load import load_dataset, load_grid
from ltbench.config.registry import load_registry

ERROR = """rank 1: Traceback (most recent call last):
  File "jobs.py", line 1, in run
    raise ValueError("x")
ValueError: x

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "jobs.py", line 2, in run
    fail()
    ~~~~^^
  File "jobs.py", line 3, in fail
    raise KeyError("y")
ltbench.data.errors.DataError: two things are wrong:
one: this
"""


@pytest.fixture
def rehearsal():
    return importlib.import_module("rehearsal")


@pytest.fixture
def plan(rehearsal):
    return rehearsal.small_plan(load_dataset("imagenet_lt"))


def test_all_variants_take_two_steps_at_the_size_of_the_dataset(rehearsal, plan):
    wanted = {variant.label for variant in load_grid("imagenet_lt").variants}
    rows = {run.variant.label for run in rehearsal.chosen(plan, None)}
    assert rows == wanted
    assert {job.method for job in plan.jobs.values()} == set(load_registry())
    for job in plan.jobs.values():
        assert (job.dataset.name, job.dataset.image_size) == ("imagenet_lt", 224)
        assert job.recipe.network == "resnext50_32x4d"
        assert job.recipe.batch_size <= rehearsal.LARGER.get(job.method, rehearsal.BATCH)
        assert job.stage_recipe is None or job.stage_recipe.epochs in (1, 2)


def test_the_tree_has_all_groups_and_the_classes_of_the_dataset(rehearsal):
    assert len(rehearsal.TRAIN) == len(rehearsal.VAL) == load_dataset("imagenet_lt").classes
    assert sorted(rehearsal.TRAIN, reverse=True) == rehearsal.TRAIN
    assert {(n > 100) + (n >= 20) for n in rehearsal.TRAIN} == {0, 1, 2}
    assert min(rehearsal.VAL) == min(rehearsal.TRAIN) == 1


def test_methods_and_labels_are_chosen_and_others_refused(rehearsal, plan):
    chosen = [run.variant.label for run in rehearsal.chosen(plan, ["crt", "NCM"])]
    assert chosen[:3] == ["Decouple-IB-CRT", "Decouple-CB-CRT", "NCM"]
    with pytest.raises(ValueError, match="no variant is or has nmc"):
        rehearsal.chosen(plan, ["crt", "nmc"])


def test_what_a_variant_starts_from_comes_first(rehearsal, plan):
    (router,) = rehearsal.chosen(plan, ["ride_router"])
    assert [plan.jobs[key].method for key in rehearsal.starts(plan, router)] == ["ride"]
    (metamodelnet,) = rehearsal.chosen(plan, ["metamodelnet"])
    assert [plan.jobs[key].method for key in rehearsal.starts(plan, metamodelnet)] == ["softmax"]


def test_the_first_line_of_an_error(rehearsal):
    line = "ltbench.data.errors.DataError: two things are wrong:"
    assert rehearsal.first_line(ERROR) == line
    assert rehearsal.first_line("no answer within 5 s") == "no answer within 5 s"


def test_a_row_holds_until_its_jobs_change(rehearsal, plan, tmp_path):
    (run,) = rehearsal.chosen(plan, ["mixup"])
    row = rehearsal.Rehearsal("mixup", "mixup", 1, run.key, "ok", 9.5, 1900.0, "a machine")
    other = replace(row, ranks=2, result="ValueError: a, b", cpu_seconds=20.0)
    file = tmp_path / "rows.csv"
    assert rehearsal.read(file) == []
    rehearsal.write(file, [row, other])
    assert rehearsal.read(file) == [row, other]
    assert rehearsal.passed([row], run, 1)
    assert not rehearsal.passed([row, other], run, 2)
    assert not rehearsal.passed([replace(row, job="0" * 16)], run, 1)
    assert rehearsal.table([row, other]).splitlines()[-1] == (
        "| mixup | ok | 10 | 1,900 | ValueError: a, b | 20 | 1,900 |"
    )


@pytest.mark.slow
def test_a_variant_is_rehearsed_once(rehearsal, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rehearsal, "RESULTS", tmp_path)
    words = ["rehearsal.py", "--only", "tau_norm", "--ranks", "1", "--place", "place"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("LTBENCH_CACHE", "")
    rehearsal.main()
    assert "tau-norm, ranks: 1: ok\n" in capsys.readouterr().out
    (row,) = rehearsal.read(tmp_path / "rehearsal_imagenet_lt.csv")
    assert row.cpu_seconds > 0
    assert row.peak_memory_mb > 0
    rehearsal.main()
    assert "ranks: 1: ok" not in capsys.readouterr().out
