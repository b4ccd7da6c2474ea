"""Failing jobs: reported with a reason, retried by the next run; others go on."""

import re
import shutil
from pathlib import Path

import pytest

from tests.support.errors import printed
from tests.support.project import Project

PLUGIN = Path(__file__).with_name("plugin.py")
pytestmark = pytest.mark.slow
VARIANTS = (
    "dies",
    "raises",
    "continues",
    "diverges",
    "twice",
    "{label: LWS, method: lws, init_from: twice}",
)


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """Return a project after a run with failures, output and grid."""
    project = Project(tmp_path_factory.mktemp("failed"))
    plugin = project.folder / "my_methods.py"
    shutil.copy(PLUGIN, plugin)
    grid = project.grid(*VARIANTS)
    return project, project.run(grid, "--plugin", str(plugin), code=1), grid


def test_other_jobs_go_on_and_the_exit_code_is_1(failed):
    project, done, _ = failed
    assert {name for name, _ in project.by_name()} == {"twice", "LWS"}
    assert "3 jobs failed, 2 could" in done.stderr
    twice = next(line for line in done.stdout.splitlines() if line.startswith("twice "))
    assert re.search(r" \d+\.\d", twice)
    raises = next(line for line in done.stdout.splitlines() if line.startswith("raises "))
    assert "failed" in raises.split()


def test_a_run_prints_reasons_and_logs(failed):
    said = failed[1].stdout
    for words in (
        "FAILED  raises [train] on digits_r20 longtailed seed 0, tiny\n",
        "        RuntimeError: no such \\x1b[31mluck\n",
        "RETRY   dies [train] on digits_r20 longtailed seed 0, tiny: Ended: the process was ended",
        "FAILED  dies [train] on digits_r20 longtailed seed 0, tiny\n",
        "        Ended: the process was ended by SIGKILL",
        "DivergedError: the loss of epoch 1 is nan",
        "BLOCKED continues [first] on digits_r20 longtailed seed 0, tiny: raises [train]",
        "BLOCKED continues [second] on digits_r20 longtailed seed 0, tiny: raises [train]",
        "about to die",
    ):
        assert words in said, said
    assert "\x1b" not in said


def test_status_prints_reasons_and_logs(failed):
    project, _, grid = failed
    plugin = ("--plugin", str(project.folder / "my_methods.py"))
    counts, text = project.status(grid, *plugin)
    assert counts == {"failed": 3, "missing": 2, "done": 2}
    for words in (
        "no such \\x1b[31mluck",
        "DivergedError: ",
        "ended by SIGKILL",
        "about to die",
        "which failed",
    ):
        assert words in text


def test_output_before_a_failure_is_in_the_log(failed):
    project, _, _ = failed
    logs = [path.read_text() for path in project.out.glob("jobs/*/log.txt")]
    for words, times in (("about to fail", 1), ("about to die", 3)):  # three attempts
        assert sum(words in log for log in logs) == 1
        assert "".join(logs).count(words) == times


def test_a_broken_plugin_is_refused(project):
    plugin = project.folder / "mine.py"
    plugin.write_text("import nothing_at_all")
    said = project.run("tiny.yaml", "--plugin", str(plugin), code=2).stderr
    assert [(where, code) for where, _, code in printed(said)] == [("mine.py:1", "plugin")]
    assert "ModuleNotFoundError" in said


def test_the_next_run_retries_failed_jobs(failed):
    project, _, grid = failed
    plugin = project.folder / "my_methods.py"
    plugin.with_name("mended").touch()
    done = project.run(grid, "--plugin", str(plugin), code=1)
    assert "7 jobs, 5 to train" in done.stdout
    assert "1 jobs failed, 0 could" in done.stderr
    attempts = {name: record.cost.attempts for (name, _), record in project.by_name().items()}
    assert attempts == {"dies": 4, "raises": 2, "continues": 1, "twice": 1, "LWS": 1}
    counts, text = project.status(grid, "--plugin", str(plugin))
    assert counts == {"done": 6, "failed": 1}
    assert "luck" not in text
    with plugin.open("a") as file:
        file.write("# edited\n")
    counts, _ = project.status(grid, "--plugin", str(plugin))
    assert counts == {"stale": 6, "missing": 1}
