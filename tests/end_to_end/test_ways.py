"""Overrides, edited recipes and custom images."""

import pytest

from tests.support.project import images

pytestmark = pytest.mark.slow


def test_results_with_overrides_are_shown_and_never_ranked(copied):
    only = ("--only", "variant=Softmax", "--only", "split=longtailed")
    said = copied.run("tiny.yaml", "--set", "recipe.stage1.optimizer.lr=0.05", *only).stdout
    assert "\nAd hoc\n" in said
    assert "recipe.stage1.optimizer.lr=0.05" in said
    assert "many, medium and few" not in said
    records = copied.records()
    assert len(records) == 13
    assert sum(record.job.ad_hoc for record in records.values()) == 1
    assert copied.status()[0] == {"done": 12}  # the grid's own

    results = copied.folder / "board"
    copied.verb("leaderboard", "tiny.yaml", "--to", str(results))
    text = (results / "grids" / "tiny.md").read_text()
    main, _, ad_hoc = text.partition("Ad hoc")
    assert "recipe.stage1.optimizer.lr=0.05" in ad_hoc
    assert "recipe.stage1.optimizer.lr=0.05" not in main
    assert copied.verb("results publish").stdout.startswith("12 records published")


def test_other_settings_make_records_stale(copied):
    recipe = copied.folder / "configs" / "recipes" / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("batch_size: 64", "batch_size: 32"))
    counts, text = copied.status()
    assert counts == {"stale": 12}
    assert "its record is of other settings" in text


def test_own_images_train_as_they_are(project):
    grid = images(project, counts=(70, 40, 30))
    said = project.run(grid, "--set", "recipe.batch_size=32", "--threads", "2").stdout
    assert "1 jobs, 1 to train" in said
    (record,) = project.records().values()
    assert record.environment.threads == 2
    assert record.split.train_counts == (70, 40, 30)
    assert record.test.totals == (4, 4, 4)
    assert "Nothing to train" in project.run(grid, "--set", "recipe.batch_size=32").stdout
    image = project.folder / "data" / "own" / "train" / "class0" / "0.png"
    image.write_bytes((image.parent / "1.png").read_bytes())
    assert project.status(grid, "--set", "recipe.batch_size=32")[0] == {
        "missing": 1
    }  # other images


def test_names_in_other_scripts_are_the_same_job_in_any_locale(project):
    images(project)
    for part in ("train", "test"):
        for number, name in enumerate(
            ("\u732b", "\u00fcber", "\u0441\u043e\u0431\u0430\u043a\u0430")
        ):
            folder = project.folder / "data" / "own" / part
            (folder / f"class{number}").rename(folder / name)
    grid = project.grid("{label: \u732b, method: softmax}", datasets="[own]")
    posix = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    project.environment |= posix
    assert r"start   \u732b [train]" in project.run(grid).stdout
    project.environment |= {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    assert project.status(grid)[0] == {"done": 1}
