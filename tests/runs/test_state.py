import json

import pytest

from ltbench.config.job import Job
from ltbench.core.files import write_json
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import (
    SchedulerStatus,
    describe_exit,
    failed_jobs,
    finished,
    job_states,
    jobs_to_train,
    kind_of,
    read_failure,
    register_retry,
    reset_retries,
    tail,
)
from ltbench.runs.store import record_path, write_record
from tests.support.quickstart import finish, key, load, quickstart, record

FAILURE = {"kind": "DivergedError", "message": "the loss is nan"}


@pytest.fixture
def run_dir(tmp_path):
    return RunDirectory(tmp_path / "runs")


@pytest.fixture(scope="module")
def plan():
    return quickstart("seed=0", "split=longtailed")


def changed(job, **fields):
    return Job(**job.model_dump() | fields)


def state(plan, run_dir, job):
    state = job_states(plan, load(run_dir), run_dir)[job]
    return state.status, state.reason


def test_a_job_is_finished_with_its_record_and_its_weights(plan, run_dir):
    job = plan.jobs[key(plan, "Softmax")]
    assert finished(job, run_dir) is None
    made = finish(run_dir, job)
    assert finished(job, run_dir) == made
    weights = run_dir.job(job.key).weights
    weights.write_bytes(b"damaged")
    assert finished(job, run_dir) is None
    weights.unlink()
    assert finished(job, run_dir) is None
    weights.write_bytes(b"weights")
    record_path(run_dir.records, job).write_text("{")
    assert finished(job, run_dir) is None


def test_states_from_never_trained_to_done(plan, run_dir):
    softmax = key(plan, "Softmax")
    folder = run_dir.job(softmax)
    assert state(plan, run_dir, softmax) == ("missing", "never trained")
    folder.checkpoints.mkdir(parents=True)
    folder.log.touch()
    restarts = "interrupted before a checkpoint, will start again"
    assert state(plan, run_dir, softmax) == ("missing", restarts)
    (folder.checkpoints / "epoch-00001-0.pt").touch()
    assert state(plan, run_dir, softmax) == ("missing", "interrupted, will resume")
    with folder.hold():
        assert state(plan, run_dir, softmax) == ("running", "starting")
        write_json(folder.progress, {"epoch": 3, "epochs": 40, "images_per_second": 10.0})
        assert state(plan, run_dir, softmax) == ("running", "epoch 3/40")
        write_json(folder.progress, {"epoch": 40, "epochs": 40, "images_per_second": 10.0})
        assert state(plan, run_dir, softmax) == ("running", "testing")
    write_json(folder.failure, FAILURE)
    assert state(plan, run_dir, softmax) == ("failed", "DivergedError: the loss is nan")
    assert failed_jobs(plan, run_dir) == {softmax}
    finish(run_dir, plan.jobs[softmax])
    assert state(plan, run_dir, softmax) == ("done", "run record")


def test_an_invalid_record_is_named(plan, run_dir):
    job = plan.jobs[key(plan, "Softmax")]
    finish(run_dir, job)
    run_dir.job(job.key).log.touch()
    record_path(run_dir.records, job).write_text("{")
    expected = ("missing", "its record is invalid, will start again")
    assert state(plan, run_dir, job.key) == expected


def test_a_job_that_runs_on_another_machine_names_it(plan, run_dir):
    softmax = key(plan, "Softmax")
    with run_dir.job(softmax).hold() as held:
        content = json.loads(held.path.read_text()) | {"machine": "other", "host": "node7"}
        held.path.write_text(json.dumps(content))
        assert state(plan, run_dir, softmax) == ("running", "starting on node7")


def test_a_submitted_job_is_queued(plan, run_dir):
    softmax = key(plan, "Softmax")
    loaded = load(run_dir)

    def state_of(queue_state):
        statuses = {softmax: SchedulerStatus("7_1", queue_state)}
        state = job_states(plan, loaded, run_dir, statuses)[softmax]
        return state.status, state.reason

    assert state_of("PENDING (Priority)") == ("queued", "Slurm job 7_1: PENDING (Priority)")
    assert state_of(None) == ("missing", "Slurm job 7_1 is over and left no record")
    with run_dir.job(softmax).hold():
        assert state_of("RUNNING") == ("running", "starting")
    write_json(run_dir.job(softmax).failure, FAILURE)
    assert state_of(None)[0] == "failed"


def test_attempts_that_are_ended_are_counted_until_the_next_epoch(run_dir):
    folder = run_dir.job("a")
    assert [register_retry(folder) for _ in range(3)] == [True, True, False]
    write_json(folder.progress, {"epoch": 1, "epochs": 9, "images_per_second": 1.0})
    assert [register_retry(folder) for _ in range(3)] == [True, True, False]
    reset_retries(folder)
    assert register_retry(folder)


def test_a_job_that_waits_for_a_failed_dependency_names_it(plan, run_dir):
    softmax = key(plan, "Softmax")
    write_json(run_dir.job(softmax).failure, FAILURE)
    status, reason = state(plan, run_dir, key(plan, "NCM"))
    assert status == "missing"
    assert softmax in reason
    assert reason.endswith("DivergedError: the loss is nan")
    assert state(plan, run_dir, key(plan, "LDAM-DRW")) == ("missing", "never trained")


def test_a_job_that_was_interrupted_is_not_stale_for_an_older_record(plan, run_dir):
    softmax = key(plan, "Softmax")
    finish(run_dir, changed(plan.jobs[softmax], version=7))
    folder = run_dir.job(softmax)
    folder.checkpoints.mkdir(parents=True)
    folder.log.touch()
    assert state(plan, run_dir, softmax) == (
        "missing",
        "interrupted before a checkpoint, will start again",
    )
    (folder.checkpoints / "1.pt").touch()
    assert state(plan, run_dir, softmax) == ("missing", "interrupted, will resume")


def test_records_of_other_settings_and_versions_are_stale(plan, run_dir):
    softmax = key(plan, "Softmax")
    job = plan.jobs[softmax]
    finish(run_dir, changed(job, hparams={"x": 1}, overrides=("hparams.Softmax.x=1",)))
    assert state(plan, run_dir, softmax)[0] == "missing"
    other = changed(job, hparams={"x": 2})
    finish(run_dir, other)
    reason = f"its record is of other settings ({other.key})"
    assert state(plan, run_dir, softmax) == ("stale", reason)
    record_path(run_dir.records, other).unlink()
    older = changed(job, version=7)
    finish(run_dir, older)
    assert state(plan, run_dir, softmax) == ("stale", f"its record is of version 7 ({older.key})")
    record_path(run_dir.records, older).unlink()
    edited = changed(job, plugin_hash="0" * 64)
    finish(run_dir, edited)
    status, reason = state(plan, run_dir, softmax)
    assert status == "stale"
    assert "plugin" in reason
    assert edited.key in reason
    record_path(run_dir.records, edited).unlink()
    bad = {"on_bad": "skip", "train": 3, "hash": "0" * 64}
    files = {"source": "image_folder", "sizes": "any", "test_per_class": None, "bad_images": bad}
    fewer = changed(job, dataset=job.dataset.model_dump() | files)
    finish(run_dir, fewer)
    status, reason = state(plan, run_dir, softmax)
    assert status == "stale"
    assert "3 images skipped" in reason
    assert state(plan, run_dir, key(plan, "LDAM-DRW"))[0] == "missing"


def test_jobs_without_a_record_are_trained_in_dependency_order(plan, run_dir):
    everything = jobs_to_train(plan, load(run_dir), run_dir)
    assert sorted(everything) == sorted(plan.jobs)
    assert everything.index(key(plan, "Softmax")) < everything.index(key(plan, "NCM"))


def test_a_dependency_without_weights_is_trained_again_if_needed(plan, run_dir):
    for job in plan.jobs.values():
        finish(run_dir, job)
    softmax, ncm = key(plan, "Softmax"), key(plan, "NCM")
    weights = run_dir.job(softmax).weights
    weights.write_bytes(b"damaged")
    assert jobs_to_train(plan, load(run_dir), run_dir) == []
    record_path(run_dir.records, plan.jobs[ncm]).unlink()
    assert jobs_to_train(plan, load(run_dir), run_dir) == [softmax, ncm]
    weights.write_bytes(b"weights")
    assert jobs_to_train(plan, load(run_dir), run_dir) == [ncm]


def test_a_published_dependency_counts_if_its_weights_are_here(plan, run_dir, tmp_path):
    softmax, ncm = key(plan, "Softmax"), key(plan, "NCM")
    small = plan.only(lambda row: row.variant.label == "NCM")
    made = finish(run_dir, plan.jobs[softmax])
    record_path(run_dir.records, plan.jobs[softmax]).unlink()
    write_record(made, record_path(tmp_path / "published", plan.jobs[softmax]))
    loaded = load(run_dir, tmp_path / "published")
    assert jobs_to_train(small, loaded, run_dir) == [ncm]
    run_dir.job(softmax).weights.unlink()
    assert jobs_to_train(small, loaded, run_dir) == [softmax, ncm]


def test_the_tail_of_a_log(tmp_path):
    log = tmp_path / "log.txt"
    assert tail(log) == ""
    log.write_bytes("".join(f"line {i}\n" for i in range(30)).encode() + b"\x1b[31m \xff\n")
    lines = tail(log, 3).split("\n")
    assert lines[:2] == ["line 28", "line 29"]
    assert lines[2].startswith("\\x1b[31m ")


def test_a_damaged_failure_file_is_ignored(run_dir):
    folder = run_dir.job("0" * 16)
    assert read_failure(folder) is None
    write_json(folder.failure, FAILURE)
    assert read_failure(folder) == "DivergedError: the loss is nan"
    assert kind_of(read_failure(folder)) == "DivergedError"
    folder.failure.write_text(json.dumps(FAILURE)[:9])
    assert read_failure(folder) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "was ended by SIGKILL, as the system does when memory runs out"),
        (-11, "was ended by SIGSEGV"),
        (-35, "was ended by signal 35"),
        (3, "ended with code 3 and left no record"),
    ],
)
def test_exits_are_described(code, words):
    assert describe_exit(code) == words


def test_hand_made_records_are_valid(plan):
    for job in plan.jobs.values():
        assert record(job).key == job.key
