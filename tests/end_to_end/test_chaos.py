"""Recovery: kills at any moment, concurrent runs, lost weights and records."""

import json
import os
import random
import re
import signal
import time

import pytest

from ltbench.runs.job_lock import HEARTBEAT_TIMEOUT
from ltbench.runs.store import read_record, record_path
from tests.end_to_end.chaos import chaos
from tests.support.project import (
    PATIENCE,
    Project,
    children,
    holders,
    kill,
    needs_two_cores,
    parent,
    wait_until,
)

pytestmark = pytest.mark.slow
SEEDS = 4
EVERY_EPOCH = ("--checkpoint-every", "0")


def longer(folder):
    """Return a project with a grid of longer jobs, long.yaml."""
    project = Project(folder)
    project.recipe("longer", 30, 20, "{kind: step, warmup: 2, milestones: [24]}")
    seeds = str(list(range(SEEDS)))
    project.grid("softmax", "crt", name="long", recipes="[longer]", seeds=seeds)
    return project


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the records of an undisturbed run, by key."""
    project = longer(tmp_path_factory.mktemp("expected"))
    project.run("long.yaml")
    return project.records()


@pytest.fixture
def project(tmp_path):
    return longer(tmp_path)


def assert_same(project, expected):
    records = project.records()
    assert records.keys() == expected.keys()
    for key, record in records.items():
        assert record.numbers() == expected[key].numbers(), record.job.title
        assert not list(project.run_dir.job(key).checkpoints.glob("*.pt"))


def assert_same_counts(project, expected):
    """Finish the work; compare what is independent of the number of ranks."""
    project.run("long.yaml")
    records = project.records()
    assert records.keys() == expected.keys()
    assert all(records[key].test.totals == expected[key].test.totals for key in expected)


def test_killed_jobs_end_with_the_same_records(project, expected):
    # Each job loses a process once: a rank or its leader.
    chance = random.Random(0)
    run = project.start("long.yaml", *EVERY_EPOCH)
    killed = set()
    while run.poll() is None:
        for folder in {path.parent for path in project.out.glob("jobs/*/progress.json")} - killed:
            trainers = sorted({pid for lock in folder.glob("lock/*") for pid in holders(lock)})
            if trainers and kill(chance.choice(trainers)):
                killed.add(folder)
        time.sleep(0.02)
    assert run.returncode == 0
    assert len(killed) >= len(expected) // 2
    assert (project.folder / "run.log").read_text().count("RETRY   ") >= len(expected) // 2
    assert_same(project, expected)
    assert sum(record.cost.attempts for record in project.records().values()) > len(expected)


@needs_two_cores
def test_a_killed_runner_leaves_no_process_and_the_next_finishes(project, expected):
    for delay, words in ((0.1, ()), (2.0, ("--devices", "2"))):
        run = project.start("long.yaml", *EVERY_EPOCH, *words)
        wait_until(project.trainers)
        time.sleep(delay)
        run.kill()
        run.wait()
        wait_until(lambda: not project.trainers(), seconds=5)
        wait_until(lambda: not project.processes(), seconds=10)
    assert "failed" not in project.status("long.yaml")[0]
    assert_same_counts(project, expected)


def test_a_killed_forkserver_is_survived(project, expected):
    run = project.start("long.yaml", *EVERY_EPOCH)
    wait_until(project.trainers)
    (server,) = {parent(pid) for pid in project.trainers()} & set(children(run.pid))
    kill(server)
    assert run.wait(PATIENCE) == 0, (project.folder / "run.log").read_text()
    assert_same(project, expected)


def interrupt(project, expected, number, code, *words):
    """Stop a run; check that it saved and will resume."""
    run = project.start("long.yaml", "--checkpoint-every", "1000", *words)
    wait_until(lambda: list(project.out.glob("jobs/*/progress.json")))
    assert not list(project.out.glob("jobs/*/checkpoints/*.pt"))
    os.killpg(run.pid, number)
    assert run.wait(timeout=60) == code
    assert project.trainers() == []
    wait_until(lambda: not project.processes(), seconds=10)
    assert list(project.out.glob("jobs/*/checkpoints/*.pt"))
    said = (project.folder / "run.log").read_text()
    assert "jobs save a checkpoint first" in said
    assert "Interrupted, " in said
    for word in ("Traceback", "FAILED", "RETRY"):
        assert word not in said
    counts, text = project.status("long.yaml")
    assert "failed" not in counts
    assert "interrupted, will resume" in text


def test_ctrl_c_saves_and_stops(project, expected):
    interrupt(project, expected, signal.SIGINT, 130)
    project.run("long.yaml")
    assert_same(project, expected)


@needs_two_cores
def test_sigterm_saves_and_stops_ranks_together(project, expected):
    interrupt(project, expected, signal.SIGTERM, 143, "--devices", "2", "--max-parallel", "1")
    logs = "".join(path.read_text() for path in project.out.glob("jobs/*/log.txt"))
    assert "stopped, and saved for the next attempt" in logs
    assert_same_counts(project, expected)  # by one rank


def test_ctrl_c_twice_ends_everything_at_once(project, expected):
    run = project.start("long.yaml", *EVERY_EPOCH)
    wait_until(lambda: list(project.out.glob("jobs/*/checkpoints/*.pt")))
    for trainer in project.trainers():
        os.kill(trainer, signal.SIGSTOP)  # it cannot save now
    os.killpg(run.pid, signal.SIGINT)
    wait_until(lambda: "Stopping" in (project.folder / "run.log").read_text())
    time.sleep(1.2)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(timeout=10) == 130
    wait_until(lambda: not project.processes(), seconds=10)
    project.run("long.yaml")
    assert_same(project, expected)


def test_status_of_a_run_under_way(project):
    endless = ("--set", "recipe.stage1.epochs=20000")
    run = project.start("long.yaml", *endless)
    wait_until(lambda: list(project.out.glob("jobs/*/progress.json")))
    counts, text = project.status("long.yaml", *endless, torch=False)
    assert counts["running"] >= 1
    assert re.search(r"running .* epoch \d+/20000", text)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(timeout=60) == 130


def test_two_runs_at_once_train_each_job_once(project, expected):
    runs = [project.start("long.yaml", log=f"{i}.log") for i in range(2)]
    assert [run.wait(PATIENCE) for run in runs] == [0, 0]
    assert_same(project, expected)
    assert {record.cost.attempts for record in project.records().values()} == {1}
    said = [(project.folder / f"{i}.log").read_text() for i in range(2)]
    assert "another run is training it" in said[0] + said[1]
    tables = [text[text.index(": accuracy") :] for text in said]
    assert tables[0] == tables[1]


def test_workers_share_a_folder_and_take_over_from_dead_ones(project, expected):
    workers = [
        project.start(
            "long.yaml", *EVERY_EPOCH, "--max-parallel", "1", log=f"{i}.log", verb="worker"
        )
        for i in range(3)
    ]
    wait_until(lambda: len(list(project.out.glob("jobs/*/progress.json"))) >= 2)
    workers[0].kill()
    workers[0].wait()
    assert [worker.wait(PATIENCE) for worker in workers[1:]] == [0, 0]
    assert_same(project, expected)
    assert sum(record.cost.attempts for record in project.records().values()) <= len(expected) + 1
    assert "### " not in (project.folder / "1.log").read_text()


def test_a_worker_takes_over_from_a_machine_that_is_gone(project, expected):
    key = next(iter(expected))
    job = project.run_dir.job(key)
    held = job.lock.acquire()
    content = json.loads(held.path.read_text()) | {"machine": "other", "host": "node7"}
    held.path.write_text(json.dumps(content))
    worker = project.start("long.yaml", verb="worker")
    wait_until(lambda: "another run is training it" in (project.folder / "run.log").read_text())
    assert re.search(r"running .* starting on node7", project.status("long.yaml")[1])
    held.beat()
    began = time.monotonic()
    assert worker.wait(PATIENCE) == 0
    assert time.monotonic() - began > HEARTBEAT_TIMEOUT - 5
    assert_same(project, expected)


def test_two_minutes_of_chaos(tmp_path):
    wrong, kills = chaos(2, 0, tmp_path)
    assert wrong == []
    assert sum(kills.values()) >= 10


def test_lost_and_damaged_weights_are_trained_again_to_the_same_record(copied):
    before = copied.by_name()
    softmax, balanced = before["Softmax", "longtailed"], before["Softmax", "balanced"]
    ncm, lws = before["NCM", "longtailed"], before["LWS", "balanced"]
    lost, damaged = (copied.run_dir.job(record.key) for record in (softmax, balanced))
    lost.weights.unlink()
    with damaged.weights.open("ab") as file:
        file.write(b"\0")
    # Done jobs stay done: old failures and unneeded weights do not count.
    lost.failure.write_text(json.dumps({"kind": "RuntimeError", "message": "long ago"}))
    assert copied.status()[0] == {"done": 12}
    assert "Nothing to train" in copied.run(torch=False).stdout

    for record in (ncm, lws):
        record_path(copied.run_dir.records, record.job).unlink()
    assert copied.status()[0] == {"done": 10, "missing": 2}
    said = copied.run().stdout
    assert "12 jobs, 4 to train" in said
    assert "CHANGED" not in said
    after = copied.by_name()
    assert after.keys() == before.keys()
    assert all(after[name].numbers() == before[name].numbers() for name in before)
    again = {name for name, record in after.items() if record.cost.attempts == 2}
    assert again == {(r.job.label, r.job.split) for r in (softmax, balanced, ncm, lws)}
    assert lost.has_weights(softmax.weights.sha256)
    assert damaged.has_weights(balanced.weights.sha256)
    assert not lost.failure.exists()


def test_a_rerun_that_differs_from_its_record_is_reported(copied):
    records = copied.by_name()
    softmax, ncm = records["Softmax", "longtailed"], records["NCM", "longtailed"]
    path = record_path(copied.run_dir.records, softmax.job)
    values = json.loads(path.read_text())
    values["training"]["losses"][0] += 1.0
    path.write_text(json.dumps(values))
    copied.run_dir.job(softmax.key).weights.unlink()
    record_path(copied.run_dir.records, ncm.job).unlink()
    said = copied.run().stdout
    assert "CHANGED Softmax [train] on digits_r20 longtailed seed 0, tiny" in said
    assert read_record(path).numbers() == softmax.numbers()


def test_torn_records_are_moved_and_written_again(copied):
    before = copied.records()
    paths = sorted(copied.run_dir.records.rglob("*.json"))[:2]
    for path in paths:
        path.write_text(path.read_text()[:100])
    said = copied.run().stdout
    assert "12 jobs, 2 to train" in said
    assert said.count("was moved to") == 2
    after = copied.records()
    assert after.keys() == before.keys()
    assert all(after[key].numbers() == before[key].numbers() for key in before)
