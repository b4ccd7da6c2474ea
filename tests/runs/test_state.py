import json

import pytest

from ltbench.config.models import Job
from ltbench.core.files import write_json
from ltbench.runs.run_dir import Workspace
from ltbench.runs.state import (
    Ticket,
    ending,
    failed_jobs,
    failure_of,
    finished,
    forget_ends,
    job_states,
    may_try_again,
    tail,
    to_train,
)
from ltbench.runs.store import record_path, write_record
from tests.support.quickstart import finish, key, load, quickstart, record

FAILURE = {"kind": "DivergedError", "message": "the loss is nan"}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "runs")


@pytest.fixture(scope="module")
def plan():
    return quickstart("seed=0", "split=longtailed")


def changed(job, **fields):
    return Job(**job.model_dump() | fields)


def state(plan, workspace, of):
    found = job_states(plan, load(workspace), workspace)[of]
    return found.status, found.reason


def test_a_job_is_finished_with_its_record_and_its_weights(plan, workspace):
    job = plan.jobs[key(plan, "Softmax")]
    assert finished(job, workspace) is None
    made = finish(workspace, job)
    assert finished(job, workspace) == made
    weights = workspace.job(job.key).weights
    weights.write_bytes(b"damaged")
    assert finished(job, workspace) is None
    weights.unlink()
    assert finished(job, workspace) is None
    weights.write_bytes(b"weights")
    record_path(workspace.records, job).write_text("{")
    assert finished(job, workspace) is None


def test_states_from_never_trained_to_done(plan, workspace):
    softmax = key(plan, "Softmax")
    folder = workspace.job(softmax)
    assert state(plan, workspace, softmax) == ("missing", "never trained")
    folder.checkpoints.mkdir(parents=True)
    (folder.checkpoints / "epoch-00001-0.pt").touch()
    assert state(plan, workspace, softmax) == ("missing", "interrupted, will resume")
    with folder.claim():
        assert state(plan, workspace, softmax) == ("running", "starting")
        write_json(folder.progress, {"epoch": 3, "epochs": 40, "images_per_second": 10.0})
        assert state(plan, workspace, softmax) == ("running", "epoch 3/40")
        write_json(folder.progress, {"epoch": 40, "epochs": 40, "images_per_second": 10.0})
        assert state(plan, workspace, softmax) == ("running", "testing")
    write_json(folder.failure, FAILURE)
    assert state(plan, workspace, softmax) == ("failed", "DivergedError: the loss is nan")
    assert failed_jobs(plan, workspace) == {softmax}
    finish(workspace, plan.jobs[softmax])
    assert state(plan, workspace, softmax) == ("done", "run record")


def test_a_job_that_runs_elsewhere_names_the_machine(plan, workspace):
    softmax = key(plan, "Softmax")
    with workspace.job(softmax).claim() as claim:
        said = json.loads(claim.path.read_text()) | {"machine": "other", "host": "node7"}
        claim.path.write_text(json.dumps(said))
        assert state(plan, workspace, softmax) == ("running", "starting on node7")


def test_a_submitted_job_waits_in_its_queue(plan, workspace):
    softmax = key(plan, "Softmax")
    loaded = load(workspace)

    def told(words):
        ticket = {softmax: Ticket("7_1", words)}
        found = job_states(plan, loaded, workspace, ticket)[softmax]
        return found.status, found.reason

    assert told("PENDING (Priority)") == ("queued", "Slurm job 7_1: PENDING (Priority)")
    assert told(None) == ("missing", "Slurm job 7_1 is over and left no record")
    with workspace.job(softmax).claim():
        assert told("RUNNING") == ("running", "starting")
    write_json(workspace.job(softmax).failure, FAILURE)
    assert told(None)[0] == "failed"


def test_attempts_that_are_ended_are_counted_by_epoch(workspace):
    folder = workspace.job("a")
    assert [may_try_again(folder) for _ in range(3)] == [True, True, False]
    write_json(folder.progress, {"epoch": 1, "epochs": 9, "images_per_second": 1.0})
    assert [may_try_again(folder) for _ in range(3)] == [True, True, False]
    forget_ends(folder)
    assert may_try_again(folder)


def test_what_waits_for_a_failed_start_says_so(plan, workspace):
    softmax = key(plan, "Softmax")
    write_json(workspace.job(softmax).failure, FAILURE)
    status, reason = state(plan, workspace, key(plan, "NCM"))
    assert status == "missing"
    assert softmax in reason
    assert reason.endswith("DivergedError: the loss is nan")
    assert state(plan, workspace, key(plan, "LDAM-DRW")) == ("missing", "never trained")


def test_records_of_other_settings_and_versions_are_stale(plan, workspace):
    softmax = key(plan, "Softmax")
    job = plan.jobs[softmax]
    finish(workspace, changed(job, hyper={"x": 1}, overrides=("hyper.Softmax.x=1",)))
    assert state(plan, workspace, softmax)[0] == "missing"
    other = changed(job, hyper={"x": 2})
    finish(workspace, other)
    reason = f"its record is of other settings ({other.key})"
    assert state(plan, workspace, softmax) == ("stale", reason)
    record_path(workspace.records, other).unlink()
    older = changed(job, version=7)
    finish(workspace, older)
    assert state(plan, workspace, softmax) == ("stale", f"its record is of version 7 ({older.key})")
    record_path(workspace.records, older).unlink()
    edited = changed(job, plugin_hash="0" * 64)
    finish(workspace, edited)
    status, reason = state(plan, workspace, softmax)
    assert status == "stale"
    assert "plugin" in reason
    assert edited.key in reason
    record_path(workspace.records, edited).unlink()
    bad = {"on_bad": "skip", "train": 3, "hash": "0" * 64}
    files = {"source": "image_folder", "sizes": "any", "bad_images": bad}
    fewer = changed(job, dataset=job.dataset.model_dump() | files)
    finish(workspace, fewer)
    status, reason = state(plan, workspace, softmax)
    assert status == "stale"
    assert "3 images skipped" in reason
    assert state(plan, workspace, key(plan, "LDAM-DRW"))[0] == "missing"


def test_what_has_no_record_is_trained_starts_first(plan, workspace):
    everything = to_train(plan, load(workspace), workspace)
    assert sorted(everything) == sorted(plan.jobs)
    assert everything.index(key(plan, "Softmax")) < everything.index(key(plan, "NCM"))


def test_a_start_without_its_weights_is_trained_again_if_something_needs_it(plan, workspace):
    for job in plan.jobs.values():
        finish(workspace, job)
    softmax, ncm = key(plan, "Softmax"), key(plan, "NCM")
    weights = workspace.job(softmax).weights
    weights.write_bytes(b"damaged")
    assert to_train(plan, load(workspace), workspace) == []
    record_path(workspace.records, plan.jobs[ncm]).unlink()
    assert to_train(plan, load(workspace), workspace) == [softmax, ncm]
    weights.write_bytes(b"weights")
    assert to_train(plan, load(workspace), workspace) == [ncm]


def test_a_published_start_counts_if_its_weights_are_here(plan, workspace, tmp_path):
    softmax, ncm = key(plan, "Softmax"), key(plan, "NCM")
    small = plan.only(lambda row: row.variant.label == "NCM")
    made = finish(workspace, plan.jobs[softmax])
    record_path(workspace.records, plan.jobs[softmax]).unlink()
    write_record(made, record_path(tmp_path / "published", plan.jobs[softmax]))
    loaded = load(workspace, tmp_path / "published")
    assert to_train(small, loaded, workspace) == [ncm]
    workspace.job(softmax).weights.unlink()
    assert to_train(small, loaded, workspace) == [softmax, ncm]


def test_the_tail_of_a_log(tmp_path):
    log = tmp_path / "log.txt"
    assert tail(log) == ""
    log.write_bytes("".join(f"line {i}\n" for i in range(30)).encode() + b"\x1b[31m \xff\n")
    lines = tail(log, 3).split("\n")
    assert lines[:2] == ["line 28", "line 29"]
    assert lines[2].startswith("\\x1b[31m ")


def test_a_damaged_failure_is_none(workspace):
    folder = workspace.job("0" * 16)
    assert failure_of(folder) is None
    write_json(folder.failure, FAILURE)
    assert failure_of(folder) == "DivergedError: the loss is nan"
    folder.failure.write_text(json.dumps(FAILURE)[:9])
    assert failure_of(folder) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "was ended by SIGKILL, as the system does when memory runs out"),
        (-11, "was ended by SIGSEGV"),
        (3, "ended with code 3 and left no record"),
    ],
)
def test_the_end_of_a_process_in_words(code, words):
    assert ending(code) == words


def test_hand_made_records_are_sound(plan):
    for job in plan.jobs.values():
        assert record(job).key == job.key
