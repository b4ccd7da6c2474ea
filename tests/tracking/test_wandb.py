import json
import os
import pty
import signal
import sys
import time
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import wandb
from wandb.proto import wandb_internal_pb2 as proto

from ltbench.config.job import Job
from ltbench.runs import record as schema
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import write_record
from ltbench.tracking import wandb as tracking
from ltbench.tracking.offline import unsynced_runs
from ltbench.tracking.wandb import log_epoch, open_run
from ltbench.training.fit import run_job
from ltbench.training.heartbeat import Heartbeat, StoppedError
from tests.support import processes
from tests.support.made_records import evaluation_result
from tests.support.training_jobs import job, options

HOSTILE = "<script>alert(1)</script> | ../../etc \"'$(id) {{x}} %s \N{SNOWMAN}"
FIRST = {"epochs": 3, "optimizer": {"lr": 0.1}, "schedule": {"kind": "constant"}}
JOB = {
    "label": "LDAM-DRW",
    "recipe_name": "digits_3",
    "dataset": {
        "name": "digits",
        "title": "Digits",
        "source": "digits",
        "test_per_class": 30,
        "classes": 4,
        "image_size": 8,
        "channels": 1,
        "normalization": {"mean": [0.5], "std": [0.5]},
        "imbalance_type": "exponential",
        "imbalance_ratio": 10,
    },
    "split": "longtailed",
    "method": "ldam_drw",
    "version": 1,
    "stage": "train",
    "hparams": {"max_margin": 0.5},
    "recipe": {
        "name": "digits_3",
        "title": "Digits, 3 epochs",
        "network": "resnet8",
        "batch_size": 32,
        "stage1": FIRST,
        "stage2": FIRST,
    },
    "stage_recipe": FIRST,
    "seed": 1,
}


def make_job(**changes):
    return Job.model_validate(JOB | changes)


def make_record(job):
    hits, totals = (10, 8, 5, 0), (10, 10, 10, 0)
    bits = np.array([i < h for h, t in zip(hits, totals, strict=True) for i in range(t)])
    return Record.model_validate(
        {
            "schema_version": 2,
            "key": job.key,
            "grid": "quickstart",
            "method": job.method,
            "job": job,
            "split": {
                "train_hash": "a" * 64,
                "train_counts": (50, 50, 50, 50),
                "longtailed_counts": (130, 50, 20, 5),
                "test_hash": "b" * 64,
                "class_names": ("ant", "bee", "cow", "dog"),
            },
            "training": {
                "epochs": 3,
                "steps": 9,
                "losses": (3.0, 2.0, 1.0),
                "passes": {"gradient": 1.0, "forward": 0.0, "teachers": 0},
            },
            "test": evaluation_result(
                hits,
                totals,
                correct=schema.EvaluationResult.pack(bits),
                predicted=(16, 8, 5, 1),
                confusion=({0: 10}, {0: 2, 1: 8}, {0: 4, 2: 5, 3: 1}, {}),
                calibration={
                    "counts": (sum(totals),),
                    "confidence": (0.5,),
                    "accuracy": (0.5,),
                    "ece": 0.125,
                },
            ),
            "weights": {"sha256": "c" * 64, "parameters": 10},
            "cost": {
                "train_seconds": 1.5,
                "test_seconds": 0.25,
                "images_per_second": 100.0,
                "peak_memory_mb": 300.0,
                "devices": 1,
                "attempts": 1,
                "cpu_seconds": 1.75,
            },
            "environment": {
                "ltbench": "0.1.0",
                "commit": None,
                "python": "3.11.7",
                "torch": "2.15.0",
                "lightning": "2.6.6",
                "hardware": "cpu",
                "threads": 1,
                "finished": datetime(2026, 1, 1, tzinfo=UTC),
            },
        }
    )


def finish(logger, record):
    """Close a run with the record of its job."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        if record is not None:
            write_record(record, path)
        tracking.finish(logger, record, path)


def messages(path):
    """Decode a .wandb file: a 7-byte header and a LevelDB log."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    position, parts = 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length = int.from_bytes(data[position + 4 : position + 6], "little")
        kind = data[position + 6]  # 1 whole, 2 first, 3 middle, 4 last
        chunk = data[position + 7 : position + 7 + length]
        parts = chunk if kind in (1, 2) else parts + chunk
        if kind in (1, 4):
            yield proto.Record.FromString(parts)
        position += 7 + length


def read_run(directory):
    """Return the content of the only offline run below a directory."""
    (folder,) = directory.glob("wandb/offline-run-*")
    return read_folder(folder)


def read_folder(folder):
    """Return the content of an offline run."""
    (path,) = folder.glob("*.wandb")
    found = {"config": {}, "history": [], "summary": {}, "metrics": {}}
    found |= {"folder": folder, "artifacts": []}
    for message in messages(path):
        if message.HasField("run"):
            found["run"] = message.run
            updates, into = message.run.config.update, found["config"]
        elif message.HasField("config"):
            updates, into = message.config.update, found["config"]
        elif message.HasField("summary"):
            updates, into = message.summary.update, found["summary"]
        elif message.HasField("history"):
            found["history"].append({})
            updates, into = message.history.item, found["history"][-1]
        elif message.HasField("metric"):
            name = message.metric.name or message.metric.glob_name
            found["metrics"][name] = message.metric.step_metric
            continue
        elif message.HasField("artifact"):
            found["artifacts"].append(message.artifact)
            continue
        elif message.HasField("exit"):
            found["exit_code"] = message.exit.exit_code
            continue
        else:
            continue
        for item in updates:
            name = item.key or ".".join(item.nested_key)
            into[name] = json.loads(item.value_json)
    return found


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / "netrc"))
    monkeypatch.setattr(wandb, "run", None)  # of a test whose service was killed
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def log_in(monkeypatch, tmp_path):
    """Write credentials for a server that is down."""
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    netrc = tmp_path / "home" / "netrc"
    netrc.parent.mkdir()
    netrc.write_text(f"machine 127.0.0.1:9 login user password {'k' * 40}\n")
    netrc.chmod(0o600)


def test_an_offline_run_holds_the_whole_job(tmp_path):
    job = make_job()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        logger = open_run(job, "quickstart", tmp_path, "auto")
        for epoch, loss in enumerate((3.0, 2.0, 1.0), 1):
            log_epoch(logger, epoch, {"train/loss": loss})
        finish(logger, make_record(job))

    found = read_run(tmp_path)
    run = found["run"]
    assert found["exit_code"] == 0
    assert (run.run_id, run.run_group, run.job_type) == (job.key, "quickstart", "train")
    assert run.project == "ltbench"
    assert set(run.tags) == {"digits_r10", "longtailed", "ldam_drw", "digits_3"}
    assert run.display_name == "LDAM-DRW [train] on digits_r10 longtailed seed 1, digits_3"
    config = {key: found["config"][key] for key in job.model_dump()}
    assert config == job.model_dump(mode="json")
    assert found["config"]["train_hash"] == "a" * 64
    assert found["config"]["environment"]["torch"] == "2.15.0"

    epochs = [row for row in found["history"] if "train/loss" in row]
    assert [(row["epoch"], row["train/loss"]) for row in epochs] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert found["metrics"]["epoch"] == ""
    assert found["metrics"]["*"] == "epoch"

    headline = {
        "acc": 23 / 30,
        "many": 1.0,
        "medium": (0.8 + 0.5) / 2,
        "ece": 0.125,
        "train_seconds": 1.5,
        "test_seconds": 0.25,
    }
    assert {key: found["summary"][key] for key in headline} == pytest.approx(headline)
    assert "few" not in found["summary"]  # its one class has no test image

    (row,) = [row for row in found["history"] if "per_class._type" in row]
    assert row["per_class._type"] == "table-file"
    table = json.loads((found["folder"] / "files" / row["per_class.path"]).read_text())
    (artifact,) = [one for one in found["artifacts"] if one.type == "record"]
    assert artifact.name == f"record-{job.key}"
    assert [entry.path for entry in artifact.manifest.contents] == ["record.json"]

    columns = ["class", "training images", "group", "hits", "test images", "accuracy"]
    assert table["columns"] == columns
    assert table["data"] == [
        ["ant", 50, "many", 10, 10, 1.0],
        ["bee", 50, "medium", 8, 10, 0.8],
        ["cow", 50, "medium", 5, 10, 0.5],
        ["dog", 50, "few", 0, 0, None],
    ]

    (row,) = [row for row in found["history"] if "confusion_table._type" in row]
    panel = json.loads((found["folder"] / "files" / row["confusion_table.path"]).read_text())
    assert panel["columns"] == ["Actual", "Predicted", "nPredictions"]
    assert panel["data"] == [
        ["ant", "ant", 10],
        *(["bee", "ant", 2], ["bee", "bee", 8]),
        *(["cow", "ant", 4], ["cow", "cow", 5], ["cow", "dog", 1]),
        ["dog", "dog", 0],
    ]


def test_pretraining_has_no_result_to_mirror(tmp_path):
    job = make_job()
    untested = make_record(job).model_copy(update={"test": None})
    assert tracking.summary_metrics(untested) == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        finish(open_run(job, "quickstart", tmp_path, "offline"), untested)


def test_a_resuming_attempt_is_complete_and_logs_each_epoch_once(tmp_path):
    one = job("softmax", eval_every_n_epochs=1)
    run_dir = RunDirectory(tmp_path)

    class After(Heartbeat):
        chunks = 3

        def stop_asked(self):
            self.chunks -= 1
            return self.chunks < 0

    with pytest.raises(StoppedError):
        run_job(one, run_dir, options(tracking="offline"), After())
    time.sleep(1.0)  # the package's folders are named by the second
    run_job(one, run_dir, options(tracking="offline"))
    first, second = unsynced_runs(run_dir)
    for run, code in ((first, 1), (second, 0)):
        found = read_folder(run)
        assert found["run"].run_id == one.key
        assert found["exit_code"] == code
        epochs = [row for row in found["history"] if "train/loss" in row]
        assert [(row["_step"], row["epoch"]) for row in epochs] == [(1, 1), (2, 2), (3, 3)]
        assert ["test/accuracy" in row for row in epochs] == [True, True, False]
    assert "acc" in read_folder(second)["summary"]


def test_no_code_and_no_system_statistics_are_logged(tmp_path):
    logger = open_run(make_job(), "quickstart", tmp_path, "offline")
    finish(logger, make_record(make_job()))
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    files = [path for path in (folder / "files").rglob("*") if path.is_file()]
    assert [path.suffixes for path in files] == [
        [".table", ".json"]
    ] * 2  # no code, no package list
    assert not any(message.HasField("stats") for message in messages(*folder.glob("*.wandb")))


@pytest.mark.parametrize(
    ("changes", "job_type"),
    [
        ({"split": "balanced"}, "balanced-ref"),
        ({"split": "balanced", "stage_recipe": None}, "balanced-ref"),
        ({"stage_recipe": None}, "adjust"),
    ],
)
def test_job_type(tmp_path, changes, job_type):
    job = make_job(**changes)
    finish(open_run(job, "quickstart", tmp_path, "offline"), make_record(job))
    assert read_run(tmp_path)["run"].job_type == job_type


def test_hostile_and_long_names_are_only_text(tmp_path):
    job = make_job(label=HOSTILE, recipe_name="r" * 80)
    finish(open_run(job, "quickstart", tmp_path / "job", "offline"), make_record(job))
    found = read_run(tmp_path / "job")
    assert found["config"]["label"] == HOSTILE
    assert found["run"].display_name == job.title[:128]
    assert "r" * 64 in found["run"].tags
    assert {path.name for path in tmp_path.iterdir()} <= {"job", "home"}


def test_a_run_left_open_does_not_disturb_the_next(tmp_path):
    first, second = make_job(), make_job(seed=2)
    open_run(first, "quickstart", tmp_path / "first", "offline")
    finish(open_run(second, "quickstart", tmp_path / "second", "offline"), make_record(second))
    assert read_run(tmp_path / "first")["run"].run_id == first.key
    assert read_run(tmp_path / "second")["run"].run_id == second.key


def test_a_failed_job_keeps_its_logged_data(tmp_path):
    logger = open_run(make_job(), "quickstart", tmp_path, "offline")
    log_epoch(logger, 1, {"train/loss": 3.0})
    finish(logger, None)
    found = read_run(tmp_path)
    assert found["history"][0]["train/loss"] == 3.0
    assert found["exit_code"] == 1


@pytest.mark.parametrize("variable", ["RANK", "WANDB_MODE"])
def test_other_ranks_and_a_disabled_package_open_nothing(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, {"RANK": "1", "WANDB_MODE": "disabled"}[variable])
    assert open_run(make_job(), "quickstart", tmp_path / "job", "auto") is None
    assert not (tmp_path / "job").exists()


def test_off_imports_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from ltbench.config.job import Job; from ltbench.tracking.wandb import open_run\n"
        "job = Job.model_validate_json(sys.argv[1])\n"
        "assert open_run(job, 'quickstart', Path(sys.argv[2]), 'off') is None\n"
        "assert not {'wandb', 'torch', 'pytorch_lightning'} & set(sys.modules)\n"
    )
    job = make_job().model_dump_json()
    processes.run([sys.executable, "-c", code, job, str(tmp_path / "job")], check=True)
    assert not (tmp_path / "job").exists()


def test_nothing_prompts_on_a_terminal():
    code = "from ltbench.tracking.wandb import logged_in; raise SystemExit(logged_in())"
    ours, theirs = pty.openpty()
    try:
        done = processes.run(
            [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, timeout=60
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 0


def test_online_without_an_account_stays_offline(tmp_path):
    with pytest.warns(UserWarning, match="not logged in"):
        logger = open_run(make_job(), "quickstart", tmp_path, "online")
    finish(logger, make_record(make_job()))
    assert read_run(tmp_path)["run"].run_id == make_job().key


@pytest.mark.usefixtures("log_in")
def test_a_dead_server_costs_seconds_and_no_data(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "TIMEOUT", 1.0)
    with pytest.warns(UserWarning, match="opening an online run"):
        logger = open_run(make_job(), "quickstart", tmp_path, "auto")
    finish(logger, make_record(make_job()))
    assert read_run(tmp_path)["summary"]["acc"] == pytest.approx(23 / 30)


@pytest.mark.usefixtures("log_in")
def test_the_users_own_mode_is_respected(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        finish(open_run(make_job(), "quickstart", tmp_path, "auto"), make_record(make_job()))
    assert read_run(tmp_path)["run"].run_id == make_job().key


def test_a_malformed_key_does_not_stop_the_job(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.warns(UserWarning, match="looking for credentials"):
        logger = open_run(make_job(), "quickstart", tmp_path, "auto")
    finish(logger, make_record(make_job()))
    assert read_run(tmp_path)["run"].run_id == make_job().key


def read_only(path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    path.mkdir()
    path.chmod(0o500)


def a_file(path):
    path.write_text("in the way")


def a_file_inside(path):
    path.mkdir()
    (path / "wandb").write_text("in the way")


@pytest.mark.parametrize("spoil", [read_only, a_file, a_file_inside])
def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, spoil):
    spoil(tmp_path / "job")
    with pytest.warns(UserWarning, match="opening an offline run"):
        assert open_run(make_job(), "quickstart", tmp_path / "job", "auto") is None


def children(name):
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, rest = stat.read_text().split(" (", 1)
            comm, rest = rest.rsplit(") ", 1)
            if comm == name and int(rest.split()[1]) == os.getpid():
                yield int(pid)


def test_a_service_that_dies_does_not_stop_the_job(tmp_path):
    logger = open_run(make_job(), "quickstart", tmp_path, "offline")
    (service,) = children("wandb-core")
    os.kill(service, signal.SIGKILL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for epoch in range(1, 20):
            log_epoch(logger, epoch, {"train/loss": 1.0})
            time.sleep(0.02)
        finish(logger, make_record(make_job()))
    said = [str(warning.message) for warning in caught if warning.category is UserWarning]
    for action in ("logging an epoch", "logging the result", "closing the run"):
        assert sum(action in text for text in said) == 1
