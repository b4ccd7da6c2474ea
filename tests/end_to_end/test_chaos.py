"""What a run survives: kills at any moment, a second run beside it, lost weights and records."""

import json
import os
import random
import re
import signal
import time

import pytest
from end_to_end.project import PATIENCE, Project, kill, wait_until

from ltbench.results.store import read_record, record_path

pytestmark = pytest.mark.slow
SEEDS = 4
LONGER = """\
title: Thirty epochs
network: resnet8
batch: 64
augment: crop
crop_padding: 1
first:
  epochs: 30
  optimizer: {lr: 0.1, momentum: 0.9}
  schedule: {kind: step, warmup: 2, milestones: [24]}
second:
  epochs: 20
  optimizer: {lr: 0.1}
  schedule: {kind: cosine}
"""
EVERY_EPOCH = ("--checkpoint-every", "0")


def longer(folder):
    """Return a project with a grid of jobs that take some seconds each: long.yaml."""
    project = Project(folder)
    project.write("configs/recipes/longer.yaml", LONGER)
    seeds = str(list(range(SEEDS)))
    project.grid("softmax", "crt", name="long", recipes="[longer]", seeds=seeds)
    return project


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The records of the long grid, by key, from a run that nobody disturbed."""
    project = longer(tmp_path_factory.mktemp("whole"))
    project.run("long.yaml")
    return project.records()


@pytest.fixture
def project(tmp_path):
    return longer(tmp_path)


def assert_same(project, whole):
    records = project.records()
    assert records.keys() == whole.keys()
    for key, record in records.items():
        assert record.numbers() == whole[key].numbers(), record.job.title
        assert not list(project.workspace.job(key).checkpoints.glob("*.pt"))


def test_killed_trainers_end_with_the_unbroken_records(project, whole):
    chance = random.Random(0)
    kills = 0
    for _ in range(3):
        run = project.start("long.yaml", *EVERY_EPOCH)
        wait_until(lambda run=run: project.trainers() or run.poll() is not None)
        while run.poll() is None:
            time.sleep(chance.uniform(0.3, 3))
            if trainers := project.trainers():
                kills += kill(chance.choice(trainers))
        assert run.returncode == 1
    assert kills >= 6
    failed = project.verb("status", "long.yaml").stdout
    assert "Ended: the process was ended by SIGKILL" in failed
    project.run("long.yaml")
    assert_same(project, whole)
    assert sum(record.cost.attempts for record in project.records().values()) > len(whole)


def test_a_killed_runner_leaves_no_trainer_and_the_next_ends_the_work(project, whole):
    for delay in (0.1, 2.0):
        run = project.start("long.yaml", *EVERY_EPOCH)
        wait_until(project.trainers)
        time.sleep(delay)
        run.kill()
        run.wait()
        wait_until(lambda: not project.trainers(), seconds=5)
        wait_until(lambda: not project.processes(), seconds=10)
    assert "failed" not in project.status("long.yaml")[0]
    project.run("long.yaml")
    assert_same(project, whole)


def test_ctrl_c_ends_everything_at_once(project, whole):
    run = project.start("long.yaml", *EVERY_EPOCH)
    wait_until(lambda: list(project.out.glob("jobs/*/checkpoints/*.pt")))
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(timeout=20) == 130
    assert project.trainers() == []
    wait_until(lambda: not project.processes(), seconds=10)
    said = (project.folder / "run.log").read_text()
    assert "Interrupted; the same command goes on from here." in said
    assert "Traceback" not in said
    assert "FAILED" not in said
    counts, text = project.status("long.yaml")
    assert "failed" not in counts
    assert "interrupted, will resume" in text
    project.run("long.yaml")
    assert_same(project, whole)


def test_status_of_a_run_under_way(project):
    run = project.start("long.yaml")
    wait_until(lambda: list(project.out.glob("jobs/*/progress.json")))
    counts, text = project.status("long.yaml", torch=False)
    assert counts["running"] >= 1
    assert re.search(r"running .* epoch \d+/30", text)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(timeout=20) == 130


def test_two_runs_at_once_train_each_job_once(project, whole):
    runs = [project.start("long.yaml", log=f"{i}.log") for i in range(2)]
    assert [run.wait(PATIENCE) for run in runs] == [0, 0]
    assert_same(project, whole)
    assert {record.cost.attempts for record in project.records().values()} == {1}
    said = [(project.folder / f"{i}.log").read_text() for i in range(2)]
    assert "another run is training it" in said[0] + said[1]
    tables = [text[text.index("### ") :] for text in said]
    assert tables[0] == tables[1]


def test_lost_and_damaged_starts_are_trained_again_to_the_same_record(copied):
    before = copied.by_name()
    softmax, twin = before["Softmax", "longtailed"], before["Softmax", "balanced"]
    ncm, lws = before["NCM", "longtailed"], before["LWS", "balanced"]
    lost, damaged = (copied.workspace.job(record.key) for record in (softmax, twin))
    lost.weights.unlink()
    with damaged.weights.open("ab") as file:
        file.write(b"\0")
    # What is done stays done: an old failure does not count, nor weights that nobody needs.
    lost.failure.write_text(json.dumps({"kind": "RuntimeError", "message": "long ago"}))
    assert copied.status()[0] == {"done": 12}
    assert "Nothing to train" in copied.run(torch=False).stdout

    for record in (ncm, lws):
        record_path(copied.workspace.records, record.job).unlink()
    assert copied.status()[0] == {"done": 10, "missing": 2}
    said = copied.run().stdout
    assert "12 jobs, 4 to train" in said
    assert "CHANGED" not in said
    after = copied.by_name()
    assert after.keys() == before.keys()
    assert all(after[name].numbers() == before[name].numbers() for name in before)
    again = {name for name, record in after.items() if record.cost.attempts == 2}
    assert again == {(r.job.label, r.job.split) for r in (softmax, twin, ncm, lws)}
    assert lost.has_weights(softmax.weights.sha256)
    assert damaged.has_weights(twin.weights.sha256)
    assert not lost.failure.exists()


def test_a_start_that_does_not_repeat_its_record_is_said(copied):
    records = copied.by_name()
    softmax, ncm = records["Softmax", "longtailed"], records["NCM", "longtailed"]
    path = record_path(copied.workspace.records, softmax.job)
    values = json.loads(path.read_text())
    values["training"]["losses"][0] += 1.0
    path.write_text(json.dumps(values))
    copied.workspace.job(softmax.key).weights.unlink()
    record_path(copied.workspace.records, ncm.job).unlink()
    said = copied.run().stdout
    assert "CHANGED Softmax [train] on digits_r20 longtailed seed 0, tiny" in said
    assert read_record(path).numbers() == softmax.numbers()


def test_torn_records_are_moved_and_written_again(copied):
    before = copied.records()
    paths = sorted(copied.workspace.records.rglob("*.json"))[:2]
    for path in paths:
        path.write_text(path.read_text()[:100])
    said = copied.run().stdout
    assert "12 jobs, 2 to train" in said
    assert said.count("is moved to") == 2
    after = copied.records()
    assert after.keys() == before.keys()
    assert all(after[key].numbers() == before[key].numbers() for key in before)
