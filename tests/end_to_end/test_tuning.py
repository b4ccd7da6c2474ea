"""From trials to a tuned variant in a table, as a user goes."""

import pytest

from tests.support.errors import printed
from tests.support.project import Project

SWEEP = "sweep: {stage1.optimizer.lr: [0.2, 0.05]}"
TRIALS = {"datasets": "[{name: digits, tested_on: auxiliary}]", "findings": "false"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project in which two methods have had two trials each."""
    project = Project(tmp_path_factory.mktemp("tuning"))
    swept = (f"{{label: {m}, method: {m}, {SWEEP}}}" for m in ("softmax", "balanced_softmax"))
    project.run(project.grid(*swept, name="trials", **TRIALS))
    return project


def test_trials_are_tested_on_images_that_no_job_was_trained_on(project):
    records = project.records().values()
    assert len(records) == 4
    for record in records:
        assert record.test.totals == record.split.auxiliary_counts
        assert sum(record.test.totals) == 80  # at most ten of a class, at most half of it
        assert record.open_set is None


def test_the_chosen_values_are_a_variant_of_other_grids(project):
    target = "configs/variants/tuned.yaml"
    said = project.verb("tune", "trials.yaml", "--to", target).stdout
    assert said.count("yes") == 2
    grid = project.grid("softmax", "{set: tuned}", name="chosen")
    project.run(grid)
    trained = project.by_name()
    assert {"softmax (tuned)", "balanced_softmax (tuned)"} <= {label for label, _ in trained}
    page = project.folder / "board"
    project.verb("leaderboard", grid, "--to", str(page))
    text = (page / "grids" / "chosen.md").read_text()
    assert "Values chosen by 2 training runs, tested on 80 images" in text


def test_no_value_is_chosen_on_test_images(project):
    grid = project.grid(f"{{label: A, method: softmax, {SWEEP}}}", name="tested")
    for verb in ("plan", "tune"):
        done = project.verb(verb, grid, code=2)
        assert printed(done.stderr) == [("tested.yaml:2", "datasets", "conflict")]
