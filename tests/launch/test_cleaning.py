"""Which job folders `clean` may remove, and which it never may."""

import pytest

from ltbench.launch.cleaning import needed_jobs, save_plan, unneeded_folders
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import record_path, write_record
from tests.support.errors import problems
from tests.support.quickstart import finish, key, load, quickstart, record


@pytest.fixture
def run_dir(tmp_path):
    """Return a run folder of finished jobs, without saved plans."""
    folder = RunDirectory(tmp_path / "runs")
    for job in quickstart("seed=0", "split=longtailed").jobs.values():
        finish(folder, job)
    return folder


@pytest.fixture(scope="module")
def plan():
    return quickstart("seed=0", "split=longtailed")


@pytest.fixture(scope="module")
def ncm():
    """Return the part of the plan that NCM needs: softmax and itself."""
    return quickstart("seed=0", "split=longtailed", "variant=NCM")


def removable(run_dir, plans=(), published=None):
    records = load(run_dir, published).records
    folders = unneeded_folders(needed_jobs(plans, records, run_dir), records, run_dir)
    return {each.folder.path.name for each in folders}


def test_jobs_of_every_saved_edition_of_a_grid_are_kept(run_dir, plan, ncm):
    save_plan(ncm, run_dir)
    assert removable(run_dir) == plan.jobs.keys() - ncm.jobs.keys()
    save_plan(plan, run_dir)
    save_plan(plan, run_dir)
    assert len(list(run_dir.plans.iterdir())) == 2
    assert removable(run_dir) == set()


def test_records_of_unknown_grids_are_kept(run_dir, plan):
    assert removable(run_dir) == set()


def test_ad_hoc_records_are_kept(run_dir, ncm):
    save_plan(ncm, run_dir)
    before = removable(run_dir)
    changed = quickstart("seed=0", "variant=Softmax", sets=("recipe.stage1.epochs=50",)).jobs
    for job in changed.values():
        finish(run_dir, job)
    assert removable(run_dir) == before


def test_published_jobs_and_their_dependencies_are_kept(run_dir, plan, ncm, tmp_path):
    save_plan(quickstart("seed=0", "split=longtailed", "variant=LDAM-DRW"), run_dir)
    job = plan.jobs[key(plan, "NCM")]
    write_record(record(job), record_path(tmp_path / "published", job))
    gone = removable(run_dir, published=tmp_path / "published")
    assert gone == plan.jobs.keys() - ncm.jobs.keys() - {key(plan, "LDAM-DRW")}


def test_running_and_resumable_jobs_are_kept(run_dir, plan, ncm):
    save_plan(ncm, run_dir)
    first, second, *rest = sorted(removable(run_dir))
    checkpoint = run_dir.job(second).checkpoints / "1.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    with run_dir.job(first).hold():
        assert removable(run_dir) == set(rest)
    assert removable(run_dir) == {first, *rest}


def test_a_folder_whose_job_was_started_meanwhile_is_not_removed(run_dir, plan, ncm):
    save_plan(ncm, run_dir)
    records = load(run_dir).records
    first, *_ = unneeded_folders(needed_jobs((), records, run_dir), records, run_dir)
    assert first.bytes > 0
    with first.folder.hold():
        assert not first.remove()
    assert first.folder.path.exists()
    assert first.remove()
    assert not first.folder.path.exists()


def test_links_and_folders_without_a_key_as_name_stay(run_dir, ncm, tmp_path):
    save_plan(ncm, run_dir)
    (run_dir.root / "jobs" / "photos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (run_dir.root / "jobs" / ("a" * 16)).symlink_to(tmp_path / "elsewhere")
    (run_dir.root / "jobs" / ("b" * 16)).write_text("a file")
    (run_dir.root / "jobs" / ("c" * 16)).mkdir()
    gone = removable(run_dir)
    assert "c" * 16 in gone
    assert gone.isdisjoint({"photos", "a" * 16, "b" * 16})


def test_a_folder_that_is_no_run_folder_is_refused(tmp_path):
    assert problems(lambda: unneeded_folders((), {}, RunDirectory(tmp_path))) == [
        ("--run-dir", "", "missing-file")
    ]


@pytest.mark.parametrize(
    "text", ['{"grid": ', '{"grid": "x"}', '{"grid": "x", "jobs": ["a"]}', "[]"]
)
def test_with_a_damaged_saved_plan_nothing_is_removed(run_dir, ncm, text):
    save_plan(ncm, run_dir)
    (path,) = run_dir.plans.iterdir()
    path.write_text(text)
    assert problems(lambda: removable(run_dir)) == [(str(path), "", "unreadable")]
