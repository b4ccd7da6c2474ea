"""Records on the command line: published, exported, verified."""

import pytest
from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.config.job import Job
from ltbench.runs.run_dir import RunDirectory
from tests.support.quickstart import finish, key, quickstart


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """Return the run folder of an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return RunDirectory(tmp_path / "runs")


def problems(*words):
    return CliRunner().invoke(app, ["results", *words]).exception.problems


def test_a_grid_without_records_is_not_published(run_dir):
    (problem,) = problems("publish", "--grid", "quickstart")
    assert (problem.file, problem.code) == ("publish", "missing-record")
    plan = quickstart("seed=0", "split=longtailed")
    job = plan.jobs[key(plan, "Softmax")]
    changed = {"hparams": {"x": 1}, "overrides": ("hparams.Softmax.x=1",)}
    finish(run_dir, Job(**job.model_dump() | changed))
    (problem,) = problems("publish", "--grid", "quickstart")
    assert "--set" in problem.suggestion
    finish(run_dir, job)
    for count in (1, 0):  # the second time all are published
        result = CliRunner().invoke(app, ["results", "publish", "--grid", "quickstart"])
        assert f"{count} records published" in result.output
