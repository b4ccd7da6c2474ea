"""The command for a GPU: its rehearsal, and its grids on the CPU, cut off and resumed."""

import importlib
import json
import sys

import pytest

from ltbench.launch.plan import Request, make_plan
from ltbench.runs.store import RecordStore
from ltbench.training.checkpoint import NAME
from tests.support import processes
from tests.support.project import Project, wait_until
from tests.support.quickstart import key, quickstart, record

TRAIN = """\
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import gpu

gpu.PUBLISH_SECONDS = 2.0
options = ("--device", "cpu", "--max-parallel", "2", "--wandb", "off")
sys.exit(gpu.train("grid.yaml", Path("runs"), Path("published"), *options))
"""
EPOCHS = 300
"""Of the long job: it still trains when a job of one epoch is published."""


@pytest.fixture
def gpu():
    return importlib.import_module("gpu")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def start(project, *command):
    with (project.folder / "said.log").open("a") as file:
        return processes.start(
            [sys.executable, *command],
            cwd=project.folder,
            env=project.environment,
            stdout=file,
            stderr=file,
        )


def on_gpu(peak_mb, total_mb):
    made = record(quickstart().jobs[key(quickstart(), "Softmax")])
    cost = made.cost.model_copy(update={"peak_memory_mb": peak_mb, "memory": "gpu"})
    environment = made.environment.model_copy(update={"gpu_memory_mb": total_mb})
    return made.model_copy(update={"cost": cost, "environment": environment})


def test_as_many_jobs_share_a_gpu_as_fit_and_have_a_core(gpu):
    records = [on_gpu(500.0, 16000.0), on_gpu(976.0, 16000.0)]
    assert gpu.jobs_per_gpu(records, 64) == 8  # of 976 MB, and 1,024 for each process
    assert gpu.jobs_per_gpu(records, 6) == 6
    assert gpu.jobs_per_gpu([on_gpu(20000.0, 16000.0)], 6) == 1
    assert gpu.jobs_per_gpu([], 0) == 1


def test_the_smoke_test_trains_every_variant_of_the_first_dataset_for_an_epoch(gpu, tmp_path):
    words = gpu.smoke("cifar10_jpeg_lt", tmp_path, on_gpu=True)
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    only = words[words.index("--only") + 1]
    plan, _ = make_plan(Request("cifar10_jpeg_lt", tuple(sets), (only,)))
    everything, _ = make_plan(Request("cifar10_jpeg_lt"))
    assert {row.variant.label for row in plan.rows} == {v.label for v in everything.grid.variants}
    assert {row.dataset.imbalance_ratio for row in plan.rows} == {100}
    recipes = [job.stage_recipe for job in plan.jobs.values() if job.stage_recipe]
    assert {recipe.epochs for recipe in recipes} == {1}


def test_every_benchmark_of_a_gpu_exists(gpu, benchmarks):
    assert all((benchmarks / command.split()[0]).is_file() for command in gpu.BENCHMARKS.values())


def test_a_rehearsal_resumes_and_publishes_nothing(project, benchmarks):
    command = (str(benchmarks / "gpu.py"), "--grid", "quickstart")
    project.environment["CUDA_VISIBLE_DEVICES"] = ""
    done = project.folder / "runs" / "rehearsal" / "records"
    first = start(project, *command)
    wait_until(lambda: list(done.rglob("*.json")))
    processes.end(first)  # kills the whole session
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.json")}
    assert start(project, *command).wait(300) == 0
    after = {path: path.stat().st_mtime_ns for path in done.rglob("*.json")}
    assert before.items() <= after.items()
    assert sorted(path.parent.name for path in after) == ["ncm", "softmax"]
    assert not (project.folder / "results").exists()


@pytest.mark.slow
def test_a_grid_that_is_cut_off_loses_an_epoch_and_is_published_meanwhile(project, benchmarks):
    project.recipe("short", 1, 1)
    project.recipe("long", EPOCHS, 1)
    project.grid("softmax", recipes="[short, long]")
    published = RecordStore(project.folder / "published")
    first = start(project, "-c", TRAIN, str(benchmarks))
    wait_until(lambda: published.load().records)
    (done,) = published.load().records
    (folder,) = wait_until(
        lambda: [
            path.parent.parent
            for path in project.out.glob("jobs/*/checkpoints/epoch-*.pt")
            if path.parent.parent.name != done
        ][:1]
    )
    processes.end(first)
    saved = max(int(NAME.fullmatch(p.name)[1]) for p in folder.glob("checkpoints/epoch-*.pt"))
    assert saved >= json.loads((folder / "progress.json").read_text())["epoch"] - 1
    assert start(project, "-c", TRAIN, str(benchmarks)).wait(300) == 0
    attempts = {key: s.record.cost.attempts for key, s in published.load().records.items()}
    assert attempts == {done: 1, folder.name: 2}
