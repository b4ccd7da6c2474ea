import json
import multiprocessing
import os
import shlex
import sys
from pathlib import Path

import pytest

from ltbench.launch import export_scripts, task
from ltbench.launch.process import BUSY
from ltbench.launch.ranks import STOPPED, RankLayout
from ltbench.launch.scheduling import dependency_levels
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import finished, read_failure
from ltbench.training import fit
from tests.support import processes
from tests.support.errors import problems
from tests.support.project import wait_until
from tests.support.quickstart import key, quickstart
from tests.support.training_jobs import job, options

assert fit  # loaded here once, for the processes that are forked

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def run_dir(tmp_path):
    return RunDirectory(tmp_path / "runs")


def start(folder):
    """Run a job's command in a fork of this process."""
    process = FORK.Process(target=lambda: sys.exit(task.run_task(folder)))
    process.start()
    return process


def ended(process):
    process.join(300)
    return process.exitcode


def test_a_task_file_round_trips(run_dir):
    one = job("ldam_drw")
    chosen = options(device="cpu", devices=2, plugins=("a.py",), checkpoint_every=3.5)
    folder = task.write_task(one, run_dir, chosen)
    read = task.read_task(folder)
    assert read.job == one
    assert read.job.key == one.key
    assert read.options == chosen


def test_a_task_file_of_another_job_is_refused(run_dir):
    folder = task.write_task(job(), run_dir, options())
    other = task.write_task(job(seed=1), run_dir, options())
    text = (folder / "job.json").read_text()
    (other / "job.json").write_text(text)
    assert problems(lambda: task.read_task(other)) == [(str(other / "job.json"), "", "mismatch")]
    for wrong in ("", "[]", text.replace('"seed":0', '"seed":"0; touch x"'), text[:-9]):
        (folder / "job.json").write_text(wrong)
        assert problems(lambda: task.read_task(folder)) == [
            (str(folder / "job.json"), "", "unreadable")
        ]


def test_a_command_runs_its_job_once(run_dir):
    one, second = job(epochs=10), job("crt", depends_on=(job(epochs=10).key,))
    folders = [task.write_task(each, run_dir, options(device="auto")) for each in (one, second)]
    assert ended(start(folders[1])) == BUSY
    assert not run_dir.job(second.key).lock.folder.exists()
    process = start(folders[0])
    wait_until(lambda: run_dir.job(one.key).lock.holder() is not None)
    assert ended(start(folders[0])) == BUSY
    assert ended(process) == 0
    assert finished(one, run_dir).cost.attempts == 1
    assert ended(start(folders[0])) == 0  # it has its record
    assert finished(one, run_dir).cost.attempts == 1


def test_a_command_that_cannot_write_leaves_its_failure(run_dir):
    one = job()
    folder = task.write_task(one, run_dir, options())
    (folder / "log.txt").mkdir()
    assert ended(start(folder)) == 1
    assert read_failure(run_dir.job(one.key)).startswith("IsADirectoryError: ")


def test_a_command_saves_and_stops(run_dir):
    one = job(epochs=400)
    process = start(task.write_task(one, run_dir, options()))
    wait_until(run_dir.job(one.key).progress.exists)
    process.terminate()
    assert ended(process) == STOPPED
    assert list(run_dir.job(one.key).checkpoints.glob("*.pt"))


def test_more_devices_than_there_are_are_refused(run_dir):
    many = len(os.sched_getaffinity(0)) + 1
    folder = task.write_task(job(), run_dir, options(devices=many))
    assert problems(lambda: task.run_task(folder)) == [("--devices", "", "out-of-range")]


@pytest.mark.parametrize(("world", "tasks"), [(1, "1"), (2, None), (2, "4")])
def test_without_srun_all_ranks_are_here(monkeypatch, world, tasks):
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    if tasks is not None:
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", tasks)
    assert RankLayout.of_srun(world) is None


def test_under_srun_a_process_is_one_rank(monkeypatch):
    words = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_PROCID": "3",
        "SLURM_NODEID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
    }
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    layout = RankLayout.of_srun(4)
    assert layout.launch == "slurm 7.0, 0"
    variables = layout.torchrun_env(0, "node:123")
    assert {name: variables[name] for name in variables if "TORCHELASTIC" not in name} == {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "GROUP_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "node",
        "MASTER_PORT": "123",
    }
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert RankLayout.of_srun(4).launch == "slurm 7.0, 2"


@pytest.fixture(scope="module")
def jobs():
    return quickstart("seed=0", "variant=Softmax,NCM,Decouple-IB-CRT").jobs


def test_commands_are_in_dependency_order(jobs, run_dir):
    lines = list(export_scripts.commands(jobs, run_dir, options()))
    assert [line for line in lines if line.startswith("#")] == [
        "# step 1",
        "# step 2, after all jobs above have ended",
    ]
    folders = [shlex.split(line)[-1] for line in lines if not line.startswith("#")]
    assert [Path(folder).name for folder in folders] == [
        k for level in dependency_levels(jobs) for k in level
    ]
    assert all(json.loads(Path(folder, "job.json").read_text()) for folder in folders)
    assert shlex.split(lines[1])[:-1] == [sys.executable, "-m", "ltbench", "job"]


def test_a_script_submits_each_job_after_its_dependencies(tmp_path, run_dir):
    plan = quickstart("seed=0", "split=longtailed", "variant=Softmax,NCM")
    script = tmp_path / "submit.sh"
    chosen = options(devices=2, device="gpu")
    script.write_text("\n".join(export_scripts.sbatch_script(plan.jobs, run_dir, chosen)))
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\necho 412\n')
    (tmp_path / "sbatch").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    words = ["sh", str(script), "--partition=a b"]
    processes.run(words, check=True, env=os.environ | {"PATH": path})
    softmax, ncm = (tmp_path / "said").read_text().splitlines()
    assert "--ntasks-per-node=2 --signal=USR2@120 --gpus-per-node=2" in softmax
    assert "--requeue" in softmax
    assert "--partition=a b --job-name=softmax.digits_r20.longtailed.s0 " in softmax
    assert "--dependency" not in softmax
    assert "--job-name=ncm.digits_r20.longtailed.s0 " in ncm
    assert "--dependency=afterok:412 " in ncm
    assert f"ltbench job {run_dir.root}/jobs/{key(plan, 'NCM')} --requeue" in ncm
