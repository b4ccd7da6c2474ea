"""Faults: a hanging rank, a full or lost disk, NaN, no memory."""

import os
import signal

import pytest

from ltbench.core.files import read_json
from tests.support import processes
from tests.support.errors import printed
from tests.support.project import (
    PATIENCE,
    Project,
    children,
    holders,
    needs_two_cores,
    wait_until,
)

pytestmark = [pytest.mark.slow, needs_two_cores]

PLUGIN = """\
import torch

from ltbench.core.distributed import rank
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Method
from tests.support.errors import printed


class Sound(Method):
    title = "Sound"
    paper = None
    category = "baseline"

    def training_loss(self, batch):
        return cross_entropy(self.network(batch.images), batch.labels)


class OneRankDiverges(Sound):
    def training_loss(self, batch):
        return super().training_loss(batch) * (float("nan") if rank() == 1 else 1.0)


class OneRankFails(Sound):
    def training_loss(self, batch):
        if rank() == 1:
            raise RuntimeError("no luck here")
        return super().training_loss(batch)


class NeedsMuch(Sound):
    def training_loss(self, batch):
        return torch.empty(1 << 50).sum()


class NeedsMuchOfAGpu(Sound):
    def training_loss(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


METHODS = {
    "sound": Sound,
    "one_rank_diverges": OneRankDiverges,
    "one_rank_fails": OneRankFails,
    "needs_much": NeedsMuch,
    "needs_much_of_a_gpu": NeedsMuchOfAGpu,
}
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the records of an undisturbed run with two devices per job."""
    project = Project(tmp_path_factory.mktemp("expected"))
    project.run(grid(project), "--devices", "2")
    return project.records()


def grid(project):
    return project.grid("softmax", "ncm", seeds="[0, 1]", recipes="[tiny]")


def assert_same(project, expected):
    records = project.records()
    assert records.keys() == expected.keys()
    assert all(record.numbers() == expected[key].numbers() for key, record in records.items())


def small_disk(folder, *options):
    """Mount a small tmpfs, or skip the test."""
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    done = processes.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def mounted(project):
    yield project.out
    processes.run(["umount", "--lazy", str(project.out)], check=True)


def test_a_hanging_rank_is_detected_and_the_job_resumes(project, expected):
    recipe = project.folder / "configs/recipes/tiny.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 2", "epochs: 80", 1))
    words = ("--devices", "2", "--heartbeat-timeout", "10", "--checkpoint-every", "0")
    run = project.start("tiny.yaml", "--only", "variant=Softmax", "--only", "seed=0", *words)
    (path,) = wait_until(lambda: list(project.out.glob("jobs/*/progress.json")))
    wait_until(lambda: read_json(path)["epoch"] > 5)
    (lock,) = path.parent.glob("lock/*")
    leader = next(pid for pid in holders(lock) if len(children(pid)) == 2)
    os.kill(max(children(leader)), signal.SIGSTOP)
    assert run.wait(PATIENCE) == 0
    said = (project.folder / "run.log").read_text()
    assert said.count("Ended: the job made no progress for 10 s") == 1
    assert all(record.training.epochs == 80 for record in project.records().values())


def test_one_rank_that_fails_ends_the_job_with_its_reason(project):
    plugin = project.write("mine.py", PLUGIN)
    variants = ("one_rank_diverges", "one_rank_fails", "sound")
    done = project.run(project.grid(*variants), "--plugin", plugin, "--devices", "2", code=1)
    assert "DivergedError: the loss of epoch 1 is nan" in done.stdout
    assert "RuntimeError: no luck here" in done.stdout
    assert "RETRY" not in done.stdout
    assert [record.method for record in project.records().values()] == ["sound"]
    assert project.processes() == []


def test_out_of_memory_gets_a_hint_and_other_jobs_go_on(project):
    plugin = project.write("mine.py", PLUGIN)
    variants = ("needs_much", "needs_much_of_a_gpu", "sound")
    done = project.run(project.grid(*variants), "--plugin", plugin, code=1)
    assert "RuntimeError: " in done.stdout
    assert "OutOfMemoryError: CUDA out of memory" in done.stdout
    assert done.stdout.count("to use less memory, raise --devices or lower --max-parallel") == 2
    assert "RETRY" not in done.stdout
    assert [record.method for record in project.records().values()] == ["sound"]


def test_a_full_disk_is_reported_and_finished_jobs_stay(project, expected, mounted):
    small_disk(mounted, "size=500k")  # weights take about 330 kB
    words = ("--devices", "2", "--max-parallel", "1", "--checkpoint-every", "0")
    done = project.run(grid(project), *words, code=1)
    assert "No space left on device" in done.stdout + done.stderr
    first = project.records()
    assert 0 < len(first) < len(expected)
    assert project.processes() == []
    processes.run(["mount", "-o", "remount,size=64m", str(mounted)], check=True)
    project.run(grid(project), "--devices", "2")
    assert_same(project, expected)
    attempts = {key: record.cost.attempts for key, record in project.records().items()}
    assert all(attempts[key] == record.cost.attempts for key, record in first.items())


def test_a_read_only_disk_is_refused_at_once(project, mounted):
    small_disk(mounted, "ro")
    said = project.run(code=2, torch=False).stderr
    assert printed(said) == [("--run-dir", "", "not-writable")]
    assert str(mounted) in said


def test_a_folder_that_is_gone_ends_the_run(project, expected):
    recipe = project.folder / "configs/recipes/tiny.yaml"
    short = recipe.read_text()
    recipe.write_text(short.replace("epochs: 2", "epochs: 400", 1))
    run = project.start("tiny.yaml")
    wait_until(lambda: list(project.out.glob("jobs/*/progress.json")))
    project.out.rename(project.folder / "away")
    assert run.wait(30) == 2
    said = (project.folder / "run.log").read_text()
    assert said.endswith(f"the run folder {project.out} is gone\n")
    wait_until(lambda: not project.processes(), seconds=10)
