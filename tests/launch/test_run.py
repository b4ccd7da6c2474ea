import errno
import os
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

import ltbench
from ltbench.config.load import load_recipe
from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.prepare import prepare
from ltbench.data.sources import load_raw_dataset
from ltbench.launch import run
from ltbench.launch.run import (
    check_batch_sizes,
    check_data,
    check_writable,
    code_commit,
    find_pending_jobs,
)
from ltbench.runs.run_dir import RunDirectory
from ltbench.training.options import Options
from tests.support import processes
from tests.support.errors import problems_of, raises
from tests.support.listed_images import (
    listed_spec,
    picture,
    resized_recipe,
    write_images,
    write_lists,
)
from tests.support.quickstart import quickstart
from tests.support.training_jobs import job as training_job


@pytest.fixture(scope="module")
def jobs():
    return list(quickstart("seed=0", "variant=Softmax").jobs.values())


def with_batch(job, batch):
    return job.model_copy(update={"recipe": job.recipe.model_copy(update={"batch_size": batch})})


def test_batches_that_do_not_divide_among_devices_are_refused(jobs):
    check_batch_sizes(jobs, 4)
    wrong = [with_batch(jobs[0], 33), with_batch(jobs[1], 34)]
    problems = problems_of(lambda: check_batch_sizes([*jobs, *wrong], 4))
    assert [(problem.file, problem.code) for problem in problems] == [("--devices", "conflict")] * 2
    numbers = [re.findall(r"\d+", problem.message) for problem in problems]
    assert numbers == [["4", "33"], ["4", "34"]]


def test_present_data_raises_nothing(jobs):
    check_data(jobs, None)


def test_all_problems_with_data_and_weights_are_named(jobs, tmp_path):
    longtailed, balanced = jobs
    too_large = longtailed.dataset.model_copy(update={"max_per_class": 200})
    other = balanced.dataset.model_copy(update={"fingerprint": "0" * 64})
    weights = f"{tmp_path}/resnet50-0676ba61.pth"
    facts = (
        weights,
        "401",
        "400 training images of digits_r20 balanced",
        "long-tailed split",
        "0" * 64,
    )
    with raises(DataError, "several", *facts) as error:
        check_data(
            [
                with_batch(longtailed, 32),
                with_batch(longtailed, 405),
                with_batch(balanced, 401),
                longtailed.model_copy(update={"dataset": too_large}),
                balanced.model_copy(update={"dataset": other}),
                longtailed.model_copy(update={"recipe": load_recipe("photos_finetune")}),
            ],
            str(tmp_path),
        )
    assert "405" not in str(error.value)


def test_the_batch_of_an_expert_has_to_fit_its_group(jobs):
    longtailed, _ = jobs
    expert = with_batch(longtailed.model_copy(update={"subset": "few"}), 25)
    check_data([longtailed, expert], None)
    with raises(DataError, "batch-too-large", "26", "25 training images", "few-shot"):
        check_data([longtailed, with_batch(expert, 26)], None)


def test_a_folder_is_created_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    (problem,) = problems_of(lambda: check_writable(tmp_path / "file" / "runs"))
    assert (problem.file, problem.code) == ("--run-dir", "not-writable")
    assert str(tmp_path / "file" / "runs") in problem.message
    assert os.strerror(errno.ENOTDIR) in problem.message


@pytest.mark.parametrize("name", ["records", "jobs", "plans"])
def test_a_file_in_place_of_a_folder_is_found_before_training(name, tmp_path):
    plan, run_dir = quickstart("seed=0", "variant=Softmax"), RunDirectory(tmp_path)
    options = Options("quickstart")
    (tmp_path / name).touch()
    (problem,) = problems_of(lambda: find_pending_jobs(plan, run_dir, None, options, Console()))
    assert (problem.file, problem.code) == ("--run-dir", "not-writable")
    assert str(tmp_path / name) in problem.message


def test_the_commit_is_that_of_the_code():
    root = Path(ltbench.__file__).parent.parent
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    head = processes.run(git, capture_output=True, text=True)
    if (root / ".git").exists() and head.returncode == 0:
        assert code_commit().removesuffix("+changes") == head.stdout.strip()
    else:
        assert code_commit() is None


@pytest.fixture
def own_jobs(tmp_path, monkeypatch):
    """Jobs on lists of images of any size, and the data root."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    spec = listed_spec()
    write_lists(tmp_path / "lists", spec)
    write_images(tmp_path / "images", content=picture)
    prepare(spec, tmp_path / "images", tmp_path / "lists", tmp_path / "data" / spec.name)
    settings = resized_recipe(epochs=1, network="resnet10")
    jobs = [training_job(split=split, **settings) for split in ("longtailed", "balanced")]
    return [job.model_copy(update={"dataset": spec}) for job in jobs], str(tmp_path / "data")


def test_image_files_are_decoded_first_and_all_bad_ones_named(own_jobs, tmp_path):
    (longtailed, balanced), root = own_jobs
    images = tmp_path / "images"
    (images / "train/n03/7.jpg").write_bytes(b"of the validation")
    check_data([longtailed, balanced], root)
    (images / "val/n01/100.jpg").write_bytes(b"a test image")
    (images / "train/n01/0.jpg").write_bytes(b"")
    with raises(DataError, "bad-images", "2 of", "val/n01/100.jpg", "train/n01/0.jpg"):
        check_data([longtailed, balanced], root)


def test_a_cache_replaces_the_files(own_jobs, tmp_path):
    (longtailed, _), root = own_jobs
    spec = longtailed.dataset
    build_cache(spec, load_raw_dataset(spec, root), longtailed.recipe.resize_shorter_side)
    (tmp_path / "images/val/n01/100.jpg").unlink()
    check_data([longtailed], root)


def test_a_recipe_for_images_of_one_size_is_refused_for_any_size(own_jobs, jobs):
    (longtailed, _), root = own_jobs
    other = longtailed.model_copy(update={"recipe": jobs[0].recipe})
    with raises(DataError, "conflict", "any size"):
        check_data([other], root)


OTHER = """\
title: Other
source: image_folder
sizes: any
classes: 2
image_size: 8
normalization: {mean: [0.5, 0.5, 0.5], std: [0.3, 0.3, 0.3]}
imbalance_type: natural
"""


def test_images_of_an_open_set_are_decoded_too_and_searched_once(
    own_jobs, tmp_path, monkeypatch, caplog
):
    made, root = own_jobs
    jobs = [
        job.model_copy(update={"dataset": job.dataset.model_copy(update={"open_set": "other"})})
        for job in made
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/datasets").mkdir(parents=True)
    (tmp_path / "configs/datasets/other.yaml").write_text(OTHER)
    check_data(jobs, root)
    assert len(caplog.records) == 1  # there are no such images
    for part in ("train", "test"):
        for name in "ab":
            path = tmp_path / "data/other" / part / name / "0.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (12, 12)).save(path)
    check_data(jobs, root)
    path.write_bytes(b"<html>")
    with raises(DataError, "bad-images", "test/b/0.png"):
        check_data(jobs, root)


def test_a_commit_is_marked_where_the_code_differs_from_it(tmp_path, monkeypatch):
    code = tmp_path / "ltbench" / "launch" / "run.py"
    (tmp_path / "configs").mkdir()
    code.parent.mkdir(parents=True)
    code.write_text("")

    def git(*arguments):
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *author, *arguments]
        done = processes.run(command, capture_output=True)
        return done.stdout.decode().strip()

    git("init")
    git("add", ".")
    git("commit", "--message", "all")
    head = git("rev-parse", "HEAD")
    monkeypatch.setattr(run, "__file__", str(code))
    (tmp_path / "notes.txt").write_text("no code")
    assert code_commit() == head
    code.write_text("changed")
    assert code_commit() == f"{head}+changes"
    git("commit", "--all", "--message", "more")
    (tmp_path / "configs" / "new.yaml").write_text("")
    assert code_commit() == f"{git('rev-parse', 'HEAD')}+changes"
