import pytest

from ltbench.config.errors import ConfigError
from ltbench.config.load import load_dataset, load_grid
from ltbench.launch import plan as module
from ltbench.launch.plan import Request, make_plan, read_grid

CELLS = len(load_grid("cifar100_lt").variants) * 3 * 2 * 3  # ratios, splits, seeds


def test_everything_wrong_is_said_together():
    with pytest.raises(ConfigError) as error:
        read_grid(Request("quickstrat", sets=("recip.batch=1",), only=("seeds=1",)))
    assert [problem.file for problem in error.value.problems] == [
        "--set",
        "--only",
        "configs/grids",
    ]


def test_a_huge_grid_is_refused_before_any_cell_is_made(monkeypatch):
    monkeypatch.setattr(module, "expand_dataset", None)
    with pytest.raises(ConfigError, match=rf"grid cifar100_lt: has {CELLS} cells; say --yes"):
        make_plan(Request("cifar100_lt"), largest=CELLS - 1)


def test_a_grid_may_have_as_many_cells_as_it_has():
    plan, _ = make_plan(Request("cifar100_lt"), largest=CELLS)
    assert len(plan.rows) == CELLS


def test_rules_are_read_once_a_method_and_dataset(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "method_rules", lambda *words: asked.append(words[:2]) or {})
    make_plan(Request("cifar10_lt"))
    assert len(asked) == len(set(asked))
    assert len({dataset for _, dataset in asked}) == 3


def test_overrides_reach_jobs_and_are_noted():
    plan, _ = make_plan(Request("quickstart", sets=("recipe.first.epochs=41", "grid.seeds=[3]")))
    (recipe,) = {job.recipe for job in plan.jobs.values()}
    assert recipe.first.epochs == 41
    assert {job.seed for job in plan.jobs.values()} == {3}
    assert all(job.ad_hoc for job in plan.jobs.values())


def test_datasets_without_images_are_planned_without_a_fingerprint(tmp_path):
    pinned = load_dataset("cifar10_jpeg")
    unpinned = pinned.model_copy(update={"fingerprint": None})
    assert module._with_fingerprint(pinned, tmp_path) == pinned
    assert module._with_fingerprint(unpinned, tmp_path) == unpinned
