"""What `gc` may remove of a run folder, and what it never may."""

import json

import pytest

from ltbench.launch.cleaning import needed, note_plan, unneeded
from ltbench.runs.run_dir import Workspace
from ltbench.runs.store import record_path, write_record
from tests.support.errors import problems
from tests.support.quickstart import finish, key, load, quickstart, record


@pytest.fixture
def workspace(tmp_path):
    """A run folder in which all jobs of a plan are finished, as it was before plans were noted."""
    place = Workspace(tmp_path / "runs")
    for job in quickstart("seed=0", "split=longtailed").jobs.values():
        finish(place, job)
    return place


@pytest.fixture(scope="module")
def plan():
    return quickstart("seed=0", "split=longtailed")


@pytest.fixture(scope="module")
def ncm():
    """The part of the plan that NCM needs: softmax and itself."""
    return quickstart("seed=0", "split=longtailed", "variant=NCM")


def removable(workspace, plans=(), published=None):
    records = load(workspace, published).records
    found = unneeded(needed(plans, records, workspace), records, workspace)
    return {each.folder.path.name for each in found}


def test_plans_that_were_noted_are_kept_each_edition(workspace, plan, ncm):
    note_plan(ncm, workspace)
    assert removable(workspace) == plan.jobs.keys() - ncm.jobs.keys()
    note_plan(plan, workspace)
    note_plan(plan, workspace)
    assert len(list(workspace.plans.iterdir())) == 2
    assert removable(workspace) == set()


def test_records_of_grids_that_nobody_knows_are_kept(workspace, plan):
    assert removable(workspace) == set()


def test_ad_hoc_records_are_kept(workspace, ncm):
    note_plan(ncm, workspace)
    before = removable(workspace)
    changed = quickstart("seed=0", "variant=Softmax", sets=("recipe.first.epochs=50",)).jobs
    for job in changed.values():
        finish(workspace, job)
    assert removable(workspace) == before


def test_published_jobs_and_their_starts_are_kept(workspace, plan, ncm, tmp_path):
    note_plan(quickstart("seed=0", "split=longtailed", "variant=LDAM-DRW"), workspace)
    job = plan.jobs[key(plan, "NCM")]
    write_record(record(job), record_path(tmp_path / "published", job))
    gone = removable(workspace, published=tmp_path / "published")
    assert gone == plan.jobs.keys() - ncm.jobs.keys() - {key(plan, "LDAM-DRW")}


def test_what_runs_or_can_be_resumed_is_kept(workspace, plan, ncm):
    note_plan(ncm, workspace)
    first, second, *rest = sorted(removable(workspace))
    checkpoint = workspace.job(second).checkpoints / "1.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    with workspace.job(first).claim():
        assert removable(workspace) == set(rest)
    assert removable(workspace) == {first, *rest}


def test_a_folder_in_which_work_begins_is_not_removed(workspace, plan, ncm):
    note_plan(ncm, workspace)
    records = load(workspace).records
    found, *_ = unneeded(needed((), records, workspace), records, workspace)
    assert found.bytes > 0
    with found.folder.claim():
        assert not found.remove()
    assert found.folder.path.exists()
    assert found.remove()
    assert not found.folder.path.exists()


def test_links_and_what_is_not_named_as_a_job_stay(workspace, ncm, tmp_path):
    note_plan(ncm, workspace)
    (workspace.root / "jobs" / "photos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (workspace.root / "jobs" / ("a" * 16)).symlink_to(tmp_path / "elsewhere")
    (workspace.root / "jobs" / ("b" * 16)).write_text("a file")
    (workspace.root / "jobs" / ("c" * 16)).mkdir()
    gone = removable(workspace)
    assert "c" * 16 in gone
    assert gone.isdisjoint({"photos", "a" * 16, "b" * 16})


def test_a_folder_of_no_runs_is_refused(tmp_path):
    assert problems(lambda: unneeded((), {}, Workspace(tmp_path))) == [
        ("--out", "", "missing-file")
    ]


def test_a_damaged_plan_removes_nothing(workspace, ncm):
    note_plan(ncm, workspace)
    (path,) = workspace.plans.iterdir()
    path.write_text(json.dumps({"grid": "x"})[:-3])
    assert problems(lambda: removable(workspace)) == [(str(path), "", "unreadable")]
