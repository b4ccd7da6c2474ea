"""Signals at the worst moments: none is lost, and none harms finished work."""

import os
import pty
import signal
import sys

import pytest

from tests.support import processes
from tests.support.project import PATIENCE, wait_until

pytestmark = pytest.mark.slow
PLUGIN = """\
import os
import signal
import subprocess
from pathlib import Path

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Method

CONTINUE = "while ! ls runs/records/*/*/*/*.json; do sleep 0.01; done; kill -CONT {}"


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Stops(Method):
    \"\"\"Sends the run a signal, which it notices when the job has its record.\"\"\"

    title = "Stops"
    paper = None
    category = "baseline"
    sent = False

    def training_loss(self, batch):
        return cross_entropy(self.network(batch.images), batch.labels)

    def predict(self, images, target_prior=None):
        if not Stops.sent:
            Stops.sent = True
            run = parent(parent(os.getppid()))  # above the job's process and the forkserver
            os.kill(run, signal.SIGSTOP)
            os.kill(run, getattr(signal, os.environ["SENT"]))
            subprocess.Popen(["sh", "-c", CONTINUE.format(run)], stdout=-3, stderr=-3)
        return self.network(images)


METHODS = {"stops": Stops}
"""


@pytest.fixture
def plugin(project):
    return "--plugin", project.write("mine.py", PLUGIN)


@pytest.mark.parametrize("verb", ["run", "worker"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_last_running_job_ends_stops_the_run(project, plugin, verb, number):
    grid = project.grid("stops", "{label: Later, method: softmax}")
    project.environment["SENT"] = number.name
    run = project.start(grid, "--max-parallel", "1", *plugin, verb=verb)
    said = project.folder / "run.log"
    assert run.wait(PATIENCE) == 128 + number, said.read_text()
    assert [record.job.label for record in project.records().values()] == ["stops"]
    assert said.read_text().count("Later [train]") == 1  # named as unfinished, and never started
    wait_until(lambda: not project.processes(), seconds=60)


def test_a_signal_after_the_last_job_is_ignored(project, plugin):
    project.environment["SENT"] = "SIGTERM"
    said = project.run(project.grid("stops"), *plugin).stdout
    assert ": accuracy" in said
    assert len(project.records()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_job_ends_the_run(project, number):
    run = project.start()
    wait_until(lambda: project.processes() and project.out.exists())
    run.send_signal(number)
    assert run.wait(PATIENCE) == 128 + number
    wait_until(lambda: not project.processes(), seconds=60)


def test_jobs_save_when_the_terminal_closes(project):
    words = (*project.stores, "--wandb", "off", "--device", "cpu", "--checkpoint-every", "1000")
    longer = ("--set", "recipe.stage1.epochs=20000")
    ours, theirs = pty.openpty()
    run = processes.start(
        [sys.executable, "-m", "ltbench", "run", "--grid", "tiny.yaml", *words, *longer],
        cwd=project.folder,
        env=project.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    wait_until(lambda: list(project.out.glob("jobs/*/progress.json")))
    os.close(ours)
    assert run.wait(PATIENCE) == 128 + signal.SIGHUP
    assert list(project.out.glob("jobs/*/checkpoints/*.pt"))
    wait_until(lambda: not project.processes(), seconds=60)


def test_jobs_save_when_the_reader_of_the_output_is_gone(project):
    longer = ("--set", "recipe.stage1.epochs=20000", "--checkpoint-every", "1000")
    command = (sys.executable, "-m", "ltbench", "run", "--grid", "tiny.yaml", *project.stores)
    words = (*command, "--wandb", "off", "--device", "cpu", *longer)
    ours, theirs = os.pipe()
    run = processes.start(
        words, cwd=project.folder, env=project.environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.close(ours)
    assert run.wait(PATIENCE) == 128 + signal.SIGHUP
    wait_until(lambda: not project.processes(), seconds=60)
