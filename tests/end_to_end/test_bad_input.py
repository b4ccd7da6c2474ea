"""Bad input: a clear message on stderr, a non-zero exit code, no traceback."""

import json
import os
import re

import pytest
from PIL import Image

from tests.support.errors import printed
from tests.support.project import FOLDER, images


def refused(project, grid, *words, code=2):
    done = project.run(grid, *words, code=code)
    assert not list(project.out.glob("records/**/*.json"))
    return done.stderr


def test_all_problems_of_a_grid_are_named_at_once(project):
    grid = project.grid(
        "{label: A, method: sofmax}",
        "{label: B, method: tau_norm, hparams: {tau: much}}",
        "{label: C, method: softmax, hparms: {}}",
        "{label: D, method: softmax}",
        seeds="[zero]",
        seedz="[0]",
    )
    said = refused(project, grid)
    assert printed(said) == [
        ("grid.yaml:4", "seeds[0]", "wrong-type"),
        ("grid.yaml:5", "seedz", "unknown-key"),
        ("grid.yaml:7", "variants[0].method", "unknown-method"),
        ("grid.yaml:8", "variants[1].hparams.tau", "wrong-type"),
        ("grid.yaml:9", "variants[2].hparms", "unknown-key"),
    ]
    assert len(said.splitlines()) == 5
    assert re.findall(r'did you mean "(\w+)"', said) == ["seeds", "softmax", "hparams"]


def test_a_key_given_twice(project):
    grid = project.write("grid.yaml", "title: A\nseeds: [0]\nseeds: [1]\n")
    assert printed(refused(project, grid)) == [("grid.yaml:3", "seeds", "duplicate")]


def test_starts_in_a_circle(project):
    grid = project.grid(
        "{label: A, method: crt, init_from: B}", "{label: B, method: lws, init_from: A}"
    )
    said = refused(project, grid)
    assert printed(said) == [("grid.yaml:4", "variants", "cycle")]
    assert '"A", "B", "A"' in said


def test_a_recipe_with_another_network(project):
    recipe = (project.folder / "configs/recipes/tiny.yaml").read_text()
    project.write("configs/recipes/large.yaml", recipe.replace("resnet8", "resnet20"))
    grid = project.grid("softmax", "{label: cRT, method: crt, recipe: large}")
    found = [("grid.yaml:6", "variants[1].recipe", "conflict")]
    assert printed(refused(project, grid)) == found


def test_a_batch_larger_than_the_split(project):
    said = refused(project, "tiny.yaml", "--set", "recipe.batch_size=402")
    assert said.endswith("[batch-too-large]\n")
    assert all(f"{number} " in said for number in (402, 400))
    assert "digits_r20 balanced" in said
    assert "longtailed" not in said  # has 405


def test_unknown_fields_on_the_command_line(project):
    said = refused(project, "tiny.yaml", "--set", "recip.batch=3", "--only", "seeds=1")
    assert printed(said) == [("--set", "", "unknown-key"), ("--only", "", "unknown-key")]
    assert re.findall(r'did you mean "(\w+)"', said) == ["recipe", "seed"]
    said = refused(project, "tiny.yaml", "--only", "seed=1")
    assert printed(said) == [("--only", "seed", "unknown-value")]
    said = refused(project, "tiny.yaml", "--max-parallel", "999")
    assert printed(said) == [("--max-parallel", "", "out-of-range")]


@pytest.mark.parametrize(
    ("name", "where", "code"),
    [
        ("absent.yaml", "absent.yaml", "missing-file"),
        ("quickstrat", "configs/grids", "unknown-grid"),
    ],
)
def test_a_missing_grid(project, name, where, code):
    assert printed(refused(project, name)) == [(where, "", code)]


def test_a_huge_grid_needs_confirmation_first(project):
    grid = project.grid(
        *(f"{{label: V{i}, method: softmax}}" for i in range(100)),
        seeds=str(list(range(1000))),
        datasets="[own]",
    )
    project.write("configs/datasets/own.yaml", FOLDER)
    for verb in ("run", "plan"):
        said = project.verb(verb, grid, code=2, torch=False).stderr
        assert printed(said) == [("grid grid", "", "needs-confirmation")]
        assert "100,000 runs" in said


def test_a_missing_root(project):
    project.write("configs/datasets/own.yaml", FOLDER)
    grid = project.grid("softmax", datasets="[own]")
    said = refused(project, grid, "--data-root", "/nowhere/at/all")
    assert printed(said) == [("own", "", "missing-data")]
    assert all(word in said for word in ("/nowhere/at/all/own", "--data-root", "LTBENCH_DATA"))


def test_a_class_without_images(project):
    grid = images(project, counts=(40, 0, 10))
    first, second = refused(project, grid).splitlines()
    assert first.endswith("[bad-layout]")
    assert "train/class1/" in second


def test_all_bad_images_are_named(project):
    grid = images(project)
    train = project.folder / "data" / "own" / "train"
    cut = train / "class0" / "3.png"
    cut.write_bytes(cut.read_bytes()[:60])
    (train / "class1" / "5.png").write_text("no image")
    Image.new("RGB", (9, 8)).save(train / "class2" / "0.png")
    first, *rest = refused(project, grid).splitlines()
    assert first.endswith("[bad-images]")
    assert [line.split(":")[0].strip() for line in rest] == [
        "train/class0/3.png",
        "train/class1/5.png",
        "train/class2/0.png",
    ]


def test_a_folder_that_is_not_writable(project):
    project.out.write_text("a file, not a folder")
    assert printed(refused(project, "tiny.yaml")) == [("--run-dir", "", "not-writable")]
    if os.geteuid() != 0:  # root may write everywhere
        project.out.unlink()
        project.out.mkdir(mode=0o555)
        assert printed(refused(project, "tiny.yaml")) == [("--run-dir", "", "not-writable")]


def test_corrupt_and_foreign_records_are_ignored(copied):
    valid = next(copied.run_dir.records.glob("digits_r20/longtailed/ncm/*.json"))
    text = valid.read_text()
    altered = json.loads(text)
    altered["test"]["hits"][0] -= 1
    bad = {
        "torn.json": text[: len(text) // 2],
        "altered.json": json.dumps(altered),
        "forged.json": text.replace('"seed": 0', '"seed": 1'),
        "newer.json": text.replace('"schema_version": 2', '"schema_version": 3'),
        "foreign.json": '{"accuracy": 99.9}',
        "copy.json": text,
    }
    for name, content in bad.items():
        (valid.parent / name).write_text(content)
    foreign = copied.folder / "published" / "a\x1b[2Jb.json"
    foreign.parent.mkdir()
    foreign.write_text("[]")

    reasons = copied.verb("status", torch=False).stderr
    for name in bad:
        assert f"ncm/{name} is ignored: " in reasons
    assert "a\\x1b[2Jb.json is ignored" in reasons
    board = copied.folder / "board"
    words = ("--to", str(board))
    copied.verb("leaderboard", "tiny.yaml", *words, torch=False)
    index = (board / "README.md").read_text()
    assert all(name in index for name in bad)
    assert "12 of 12" in index

    said = copied.run(torch=False).stdout
    assert "Nothing to train" in said
    tables = (copied.folder / "said").read_text()
    assert said[said.index(": accuracy") : said.index("Records: ")] in tables
    quarantine = copied.out / "quarantine" / "digits_r20" / "longtailed" / "ncm"
    assert {path.name for path in quarantine.iterdir()} == set(bad) - {"copy.json"}
    assert {path.read_text() for path in valid.parent.iterdir()} == {text}
    assert foreign.exists()


OWN = """\
title: Own photographs
source: image_folder
sizes: any
classes: 3
image_size: 8
normalization: {mean: [0.5, 0.5, 0.5], std: [0.3, 0.3, 0.3]}
imbalance_type: natural
"""

DAMAGES = """\
from pathlib import Path

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Method


class Damages(Method):
    title = "Damages"
    paper = None
    category = "baseline"

    def training_loss(self, batch):
        if Path("damage").exists():
            Path("data/own/test/class1/2.png").write_bytes(b"<html>")
        return cross_entropy(self.network(batch.images), batch.labels)


METHODS = {"damages": Damages}
"""


@pytest.mark.slow
def test_images_that_go_bad_while_training_end_the_run_and_lose_no_training(project):
    images(project)
    project.write("configs/datasets/own.yaml", OWN)
    recipe = (project.folder / "configs/recipes/tiny.yaml").read_text()
    resized = "augment: resized_crop\nresize_shorter_side: 10"
    project.write("configs/recipes/tiny.yaml", recipe.replace("augment: crop", resized))
    plugin = project.write("mine.py", DAMAGES)
    grid = project.grid("damages", "softmax", "ncm", datasets="[own]", seeds="[0, 1]")
    words = ("--plugin", plugin, "--max-parallel", "1")
    flag, image = project.folder / "damage", project.folder / "data/own/test/class1/2.png"
    sound = image.read_bytes()
    flag.touch()

    done = project.run(grid, *words, code=1)
    assert done.stdout.count("DataError") == 1
    assert "Traceback" not in done.stdout
    logs = sorted(project.out.glob("jobs/*/log.txt"), key=lambda path: path.stat().st_mtime)
    assert "2.png" in logs[-1].read_text()  # no job was started after it
    assert len(logs) < 6
    assert "damages" not in {record.method for record in project.records().values()}
    flag.unlink()

    said = project.run(grid, *words, code=2).stderr
    assert "[bad-images]" in said
    assert "test/class1/2.png" in said
    assert "test/class1/2.png" in project.call("data", "check", "own", code=2).stderr

    image.write_bytes(sound)
    project.run(grid, *words)
    (log,) = (
        path.read_text()
        for path in project.out.glob("jobs/*/log.txt")
        if "2.png" in path.read_text()
    )
    assert "resuming after epoch 2 " in log
    assert {record.method for record in project.records().values()} == {"damages", "softmax", "ncm"}
