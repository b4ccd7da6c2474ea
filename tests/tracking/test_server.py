"""Runs sent to and read from a server on loopback, by the real package."""

import time

import pytest
import wandb

from ltbench.runs.run_dir import RunDirectory
from ltbench.tracking import pull
from ltbench.tracking import wandb as tracking
from ltbench.tracking.offline import sync, unsynced_runs
from ltbench.tracking.pull import MirroredRun, disagreements, pull_runs
from ltbench.tracking.wandb import data_hashes, log_epoch, open_run, summary_metrics
from tests.support.wandb_server import SILENT, serving
from tests.tracking.test_wandb import finish, make_job, make_record


@pytest.fixture(autouse=True)
def _account(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    wandb.teardown()
    yield
    wandb.teardown()


def mirrored(record, **changes):
    values = {
        "name": record.key,
        "group": "quickstart",
        "state": "finished",
        "config": record.job.model_dump(mode="json") | data_hashes(record),
        "summary": summary_metrics(record),
    }
    return values | changes


def test_runs_of_jobs_are_read_back_whichever_grid_trained_them(monkeypatch):
    records = [make_record(make_job(seed=seed)) for seed in (1, 2, 3)]
    here, other, unknown = records
    runs = [mirrored(here), mirrored(other, group="another"), mirrored(unknown)]
    monkeypatch.setattr(pull, "RUNS_PER_REQUEST", 1)
    with serving(runs) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        found = pull_runs([here.key, other.key], timeout=10)
        assert pull_runs(["nothing"], "team", timeout=10) == []
    assert [(run.key, run.state) for run in found] == [
        (here.key, "finished"),
        (other.key, "finished"),
    ]
    assert disagreements(found, {record.key: record for record in records}) == {}
    assert [asked["entity"] for query, asked in server.asked if "Runs" in query] == [
        "someone",
        "someone",
        "team",
    ]


@pytest.mark.parametrize("fault", [401, 429, 500, SILENT])
@pytest.mark.parametrize("at", ["viewer", "Runs"])
def test_a_server_that_does_not_answer_is_an_error_soon(monkeypatch, fault, at):
    with serving(fault=fault, at=at) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="Weights & Biases, reading ltbench"):
            pull_runs(["key"], timeout=1)
        assert time.monotonic() - began < 60


def test_without_an_account_no_request_is_sent(monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        with pytest.raises(PermissionError, match="not logged in"):
            pull_runs(["key"])
    assert server.asked == []


def test_disagreements_of_runs_and_records_are_named():
    record = make_record(make_job())
    run = MirroredRun(record.key, "finished", data_hashes(record), summary_metrics(record))

    def differences(run, records):
        return disagreements([run], records).get(record.key)

    here = {record.key: record}
    assert differences(run, here) is None
    changed = summary_metrics(record) | {"acc": 0.5, "many": 0.25}
    del changed["ece"]  # as if this metric were newer
    lines = differences(MirroredRun(record.key, "finished", {"test_hash": "x"}, changed), here)
    assert [line.split()[0] for line in lines] == ["train_hash", "test_hash", "acc", "many"]
    lost = differences(MirroredRun(record.key, "finished", data_hashes(record), {}), here)
    assert [line.split()[0] for line in lost] == ["acc"]
    assert differences(MirroredRun(record.key, "running", {}, {}), here) == [
        "is running on the server, has a record here"
    ]
    assert differences(run, {}) == ["finished on the server, no record here"]
    assert differences(MirroredRun(record.key, "crashed", {}, {}), {}) is None


def test_an_offline_run_is_synced_once(monkeypatch, tmp_path, capfd):
    job, run_dir = make_job(), RunDirectory(tmp_path)
    finish(open_run(job, "quickstart", run_dir.job(job.key).path, "offline"), make_record(job))
    (run,) = unsynced_runs(run_dir)
    assert unsynced_runs(run_dir, ["another"]) == []
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert sync([run], tmp_path) == [run]
    assert unsynced_runs(run_dir) == []
    assert server.pushed[job.key]["summary"]["acc"] == 23 / 30


def test_an_online_run_is_resumed(monkeypatch, tmp_path):
    job = make_job()
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        for last in (2, 3):
            logger = open_run(job, "quickstart", tmp_path, "online")
            for epoch in range(1, last + 1):
                log_epoch(logger, epoch, {"train/loss": 4.0 - epoch})
            finish(logger, make_record(job) if last == 3 else None)
    sent = server.pushed[job.key]
    epochs = [row for row in sent["history"] if "train/loss" in row]
    assert [(row["_step"], row["epoch"]) for row in epochs] == [(1, 1), (2, 2), (3, 3)]
    assert sent["summary"]["acc"] == pytest.approx(23 / 30)
    assert f"record-{job.key}" in str(server.asked)


@pytest.mark.parametrize(
    "fault", [401, *(pytest.param(each, marks=pytest.mark.slow) for each in (429, 500, SILENT))]
)
def test_a_server_that_fails_while_training_costs_seconds(monkeypatch, tmp_path, fault):
    monkeypatch.setattr(tracking, "TIMEOUT", 2.0)
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        logger = open_run(make_job(), "quickstart", tmp_path, "online")
        server.fault = fault
        began = time.monotonic()
        for epoch in (1, 2, 3):
            log_epoch(logger, epoch, {"train/loss": 4.0 - epoch})
        logged = time.monotonic()
        with pytest.warns(UserWarning, match="logging the record"):
            finish(logger, make_record(make_job()))
        assert logged - began < 30
        assert time.monotonic() - logged < 120


@pytest.mark.parametrize("fault", [401, 429, 500, SILENT])
def test_a_server_that_refuses_leaves_the_run_offline(monkeypatch, tmp_path, fault):
    monkeypatch.setattr(tracking, "TIMEOUT", 1.0)
    with serving(fault=fault) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        with pytest.warns(UserWarning, match="opening an online run"):
            logger = open_run(make_job(), "quickstart", tmp_path, "online")
        finish(logger, make_record(make_job()))
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1
