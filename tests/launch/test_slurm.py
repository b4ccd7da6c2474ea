import os

import pytest

from ltbench.core.files import write_json
from ltbench.launch import slurm
from ltbench.launch.ranks import STOPPED
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import ENDED, SchedulerStatus, record_failure
from tests.support.errors import problems, problems_of
from tests.support.training_jobs import job, options


@pytest.fixture
def run_dir(tmp_path):
    return RunDirectory(tmp_path / "runs")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put programs of these names and scripts first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(**texts):
        for name, text in texts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)

    return make


def test_options_of_sbatch():
    assert slurm.parse_options(["account=lab", "mem=32G", "constraint=a=b"]) == {
        "account": "lab",
        "mem": "32G",
        "constraint": "a=b",
    }
    for wrong in ("--mem=3G", "Mem=3", "mem=3\n#SBATCH --uid=0", "mem=\x1b", "=x", "exclusive"):
        assert problems(lambda wrong=wrong: slurm.parse_options([wrong])) == [
            ("--slurm-option", "", "malformed")
        ]


def test_names_in_the_queue_have_seed_and_split():
    one = job(seed=3, split="balanced")
    assert slurm.job_name(one) == "softmax.digits_r20.balanced.s3"
    hostile = one.model_copy(update={"label": "$(id) LDAM (C = 0.5)\n; --uid=0"})
    assert slurm.job_name(hostile) == "id-ldam-c-0.5-uid-0.digits_r20.balanced.s3"


def test_devices_that_do_not_divide_among_nodes_are_refused(run_dir):
    three = slurm.Settings(nodes=3)
    assert problems(lambda: slurm.submit({}, run_dir, options(devices=4), three)) == [
        ("--nodes", "", "conflict")
    ]


def test_without_slurm_nothing_is_queued(run_dir, monkeypatch):
    write_json(run_dir.job("a").submission, {"slurm": "7"})
    monkeypatch.setenv("PATH", "")
    assert slurm.query_statuses(["a", "b"], run_dir) == {"a": SchedulerStatus("7", None)}
    one = job()
    pytest.importorskip("submitit")
    settings = slurm.Settings()
    assert problems(lambda: slurm.submit({one.key: one}, run_dir, options(), settings)) == [
        ("--launcher", "", "unavailable")
    ]


def test_what_slurm_refuses_is_an_error_with_its_words(run_dir, programs):
    pytest.importorskip("submitit")
    refusal = 'echo "error: invalid partition specified: gpo" >&2; exit 1'
    programs(srun="true", sbatch=refusal, scancel=refusal, squeue="true")
    one = job()
    for command, refused in (
        ("sbatch", lambda: slurm.submit({one.key: one}, run_dir, options(), slurm.Settings("gpo"))),
        ("scancel", lambda: slurm.cancel(["7"])),
    ):
        (problem,) = problems_of(refused)
        assert (problem.file, problem.code) == (command, "unavailable")
        assert problem.message == "error: invalid partition specified: gpo"
    assert not run_dir.job(one.key).submission.exists()


def test_the_status_is_that_of_the_queue(run_dir, programs):
    programs(squeue='printf "7 RUNNING None\\n8_0 PENDING Resources\\n8_1 PENDING (null)\\n"')
    for key, number in (("a", "7"), ("b", "8_0"), ("c", "9")):
        write_json(run_dir.job(key).submission, {"slurm": number})
    assert slurm.query_statuses("abcd", run_dir) == {
        "a": SchedulerStatus("7", "RUNNING"),
        "b": SchedulerStatus("8_0", "PENDING (Resources)"),
        "c": SchedulerStatus("9", None),
    }


def test_a_queue_that_cannot_be_read_is_not_empty(run_dir, programs):
    programs(squeue='echo "error: Unable to contact slurm controller" >&2; exit 1')
    assert slurm.query_statuses(["a"], run_dir) == {}  # none was submitted
    write_json(run_dir.job("a").submission, {"slurm": "7"})
    assert problems(lambda: slurm.query_statuses(["a"], run_dir)) == [("squeue", "", "unavailable")]


@pytest.mark.parametrize(
    ("code", "kind", "state", "requeued"),
    [
        (STOPPED, None, "RUNNING", True),
        (STOPPED, None, "SIGNALING", True),
        (STOPPED, None, "COMPLETING", False),  # canceled, or requeued by Slurm
        (STOPPED, None, "CANCELLED", False),
        (1, ENDED, "RUNNING", True),
        (1, "RuntimeError", "RUNNING", False),
        (0, None, "RUNNING", False),
    ],
)
def test_an_unfinished_job_is_requeued(
    run_dir, programs, monkeypatch, tmp_path, code, kind, state, requeued
):
    calls = tmp_path / "calls"
    programs(scontrol=f'echo "$@" >> {calls}; echo "JobId=7 JobState={state} Reason=None"')
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm, "run_task", lambda folder: code)
    folder = run_dir.job("a")
    folder.path.mkdir(parents=True)
    if kind is not None:
        record_failure(folder, kind, "")
    assert slurm.run_and_requeue(folder.path) == code
    assert (calls.exists() and "requeue 7" in calls.read_text()) == requeued


def test_a_job_that_is_ended_repeatedly_is_given_up(run_dir, programs, monkeypatch, tmp_path):
    programs(scontrol=f'echo "$@" >> {tmp_path}/said; echo "JobState=RUNNING"')
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm, "run_task", lambda folder: 1)
    folder = run_dir.job("a")
    folder.path.mkdir(parents=True)
    record_failure(folder, ENDED, "")
    for _ in range(5):
        slurm.run_and_requeue(folder.path)
    assert (tmp_path / "said").read_text().count("requeue 7") == 2
