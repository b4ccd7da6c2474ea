"""Jobs that others depend on: pre-training, and experts on shot groups."""

import re

import pytest

from tests.support.errors import printed
from tests.support.project import Project

pytestmark = pytest.mark.slow

VARIANTS = (
    "softmax",
    "{label: LFME, method: lfme}",
    "{label: LFME at once, method: lfme, hparams: {decay_from: 0.0}}",
    "{label: Pre, method: ssp, hparams: {task: moco, queue: 64, width: 8}}",
    "{label: Softmax + Pre, method: softmax, init_from: Pre}",
    "{label: Focal + Pre, method: focal, init_from: Pre}",
    "{label: cRT + Pre, method: crt, init_from: Softmax + Pre}",
)
ROWS = ["softmax", "LFME", "LFME at once", "Softmax + Pre", "Focal + Pre", "cRT + Pre"]
EXPERTS = {f"Softmax, {group}-shot expert": group for group in ("many", "medium", "few")}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("prerequisites"))
    project.write("said", project.run(project.grid(*VARIANTS)).stdout)
    return project


def test_each_is_trained_once_and_shared(project):
    assert "10 jobs, 10 to train" in (project.folder / "said").read_text()
    records = {record.job.label: record for record in project.records().values()}
    experts = tuple(records[label].key for label in EXPERTS)
    assert records["LFME"].job.depends_on == records["LFME at once"].job.depends_on == experts
    for label in ("Softmax + Pre", "Focal + Pre"):
        assert records[label].job.depends_on == (records["Pre"].key,)
    assert records["LFME"].numbers() != records["LFME at once"].numbers()


def test_experts_are_tested_on_everything_and_pretraining_on_nothing(project):
    records = {record.job.label: record for record in project.records().values()}
    for label, group in EXPERTS.items():
        assert records[label].job.subset == group
        assert sum(records[label].test.totals) == 500
    assert records["Pre"].test is None
    assert len(records["Pre"].training.losses) == 2


def table_rows(text, title):
    """Return the row names of a table, in markdown or as printed."""
    below = text.split(f"{title}\n")[1]
    lines = re.split(r"\n(?:\| -|\N{BOX DRAWINGS LIGHT HORIZONTAL}).*\n", below)[1].splitlines()
    rows = [re.split(r"\s\s|\s\|", line.removeprefix("| "))[0].strip() for line in lines]
    return rows[: rows.index("")]


def leaderboard_of(project):
    """Return the text of the grid's leaderboard: its tables, then the overview."""
    board = project.folder / "board"
    project.verb("leaderboard", "grid.yaml", "--to", str(board), torch=False)
    (grid,) = (board / "grids").glob("*.md")
    return grid.read_text() + (board / "README.md").read_text()


def test_neither_is_in_a_table(project):
    page = leaderboard_of(project)
    for text in ((project.folder / "said").read_text(), page):
        assert table_rows(text, ": accuracy") == ROWS, "UA needs balanced runs"
        assert table_rows(text, "many, medium and few") == ROWS
    assert table_rows(page, "label shift") == ROWS
    tables = page.split(": records")[0]
    assert "expert" not in tables
    assert "10 of 10 jobs are done" in page


def test_plan_and_status_name_them(project):
    said = project.verb("plan", "grid.yaml", torch=False).stdout
    assert "6 runs, 10 jobs; all have records" in said
    assert "needs Pre" in said
    assert "needs Softmax, few-shot expert" in said
    counts, text = project.status("grid.yaml", torch=False)
    assert counts == {"done": 10}
    assert "Pre [pretrain] on digits_r20 longtailed seed 0" in text
    again = project.run("grid.yaml", torch=False).stdout
    assert again.startswith("Nothing to train: all 10 jobs have records.")


def test_they_are_published_with_the_jobs_that_depend_on_them(project):
    said = project.verb("results publish", "grid.yaml", torch=False).stdout
    assert said.startswith("10 records published")


def test_unused_pretraining_is_refused(project):
    alone = project.grid("softmax", VARIANTS[3], name="alone")
    said = project.verb("plan", alone, code=2, torch=False).stderr
    assert printed(said) == [("alone.yaml:6", "variants[1]", "no-effect")]


def test_an_override_leaves_it_out_of_the_tables_too(project):
    words = ("--set", "recipe.stage1.optimizer.lr=0.2", "--only", "variant=Softmax + Pre")
    assert table_rows(project.run("grid.yaml", *words).stdout, "Ad hoc") == ["Softmax + Pre"]
    assert table_rows(leaderboard_of(project), "Ad hoc") == ["Softmax + Pre"]
