"""Predictions of exported weights on the command line."""

import csv
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.data.sources import load_raw_dataset
from ltbench.runs.export import write_export
from ltbench.runs.run_dir import RunDirectory
from ltbench.training.fit import run_job
from tests.support.errors import problems
from tests.support.training_jobs import DIGITS, job, options

NAMES = tuple(map(str, range(10)))
IMAGES = 30


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return a folder with an export, and test images in class folders and in a flat one."""
    folder = tmp_path_factory.mktemp("world")
    run_dir = RunDirectory(folder / "runs")
    record = run_job(job(epochs=1), run_dir, options())
    for name, classes in (("run", NAMES), ("nameless", None)):
        write_export(record, run_dir.job(record.key), classes, "card", folder / name)
    raw = load_raw_dataset(DIGITS)
    for i, label in enumerate(raw.test_labels[:IMAGES]):
        for path in (
            folder / "flat" / f"{i:03d}.png",
            folder / "in" / NAMES[label] / f"{i:03d}.png",
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(raw.test_images.pixels[i, 0]).save(path)
    return folder


@pytest.fixture
def folder(world, tmp_path, monkeypatch):
    """Return an empty working directory with links to the world."""
    monkeypatch.chdir(tmp_path)
    for path in world.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def invoke(*words, code=0):
    result = CliRunner().invoke(app, [*words, "--device", "cpu"])
    assert result.exit_code == code, result.output or result.exception
    return result


def read(path):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def test_predictions_are_those_of_evaluate(folder):
    for _ in range(2):  # its own file is written again
        invoke("evaluate", "run", "--csv", "test.csv")
    invoke("evaluate", "run", "--images", "in", "--csv", "in.csv")
    invoke("predict", "run", "flat", "--csv", "flat.csv")
    test, labeled, flat = map(read, ("test.csv", "in.csv", "flat.csv"))
    labels = load_raw_dataset(DIGITS).test_labels
    assert [row["image"] for row in test] == [str(i) for i in range(len(labels))]
    assert [row["true"] for row in test] == [NAMES[label] for label in labels]
    assert [row["image"] for row in flat] == [f"flat/{i:03d}.png" for i in range(IMAGES)]
    predictions = [(row["predicted"], row["probability"]) for row in test[:IMAGES]]
    assert len(set(predictions)) > IMAGES // 2
    assert [(row["predicted"], row["probability"]) for row in flat] == predictions
    by_name = {row["image"][-7:]: row for row in labeled}
    assert [by_name[row["image"][-7:]]["predicted"] for row in flat] == [p for p, _ in predictions]
    assert all(f"/{row['true']}/" in row["image"] for row in labeled)


def test_the_top_classes_stand_side_by_side(folder):
    invoke("predict", "run", "in", "flat/000.png", "--csv", "out.csv", "--top", "10")
    rows = read("out.csv")
    assert len(rows) == IMAGES + 1
    ranks = ["", *(f"_{k}" for k in range(2, 11))]
    columns = [(f"predicted{rank}", f"probability{rank}") for rank in ranks]
    assert list(rows[0]) == ["image", *chain.from_iterable(columns), "error"]
    for row in rows:
        assert {row[name] for name, _ in columns} == set(NAMES)
        values = [float(row[name]) for _, name in columns]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=1e-4)
    said = invoke("predict", "run", "flat/000.png").stdout
    assert rows[-1]["predicted"] in said
    assert rows[-1]["probability"] in said


def test_an_image_that_cannot_be_read_has_a_row_and_loses_no_others(folder):
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    (folder / "new.csv").write_text("path\nflat/000.png\nbad.png\ngone.png\nflat/001.png\n")
    invoke("predict", "run", "new.csv", "--csv", "out.csv", code=1)
    rows = read("out.csv")
    assert [row["image"] for row in rows] == ["flat/000.png", "bad.png", "gone.png", "flat/001.png"]
    assert [bool(row["error"]) for row in rows] == [False, True, True, False]
    assert [bool(row["predicted"]) for row in rows] == [True, False, False, True]
    invoke("predict", "run", "bad.png", code=1)


def test_problems_with_the_arguments_are_found_together_before_any_prediction(folder):
    (folder / "list.csv").write_text("image,path\n1,flat/000.png\n")
    (folder / "mine.csv").write_text("image,true,comment\n")

    def refused(*words):
        def call():
            raise invoke(*words, code=1).exception

        return problems(call)

    assert refused("predict", "nameless", "gone.png", "list.csv", "--csv", "list.csv") == [
        ("gone.png", "", "missing-file"),
        ("--csv", "", "conflict"),
        ("nameless/config.yaml", "classes", "missing-key"),
    ]
    out = ("--csv", "none/out.csv")
    assert refused("predict", "run", "flat", "--top", "11", *out) == [
        ("--csv", "", "not-writable"),
        ("--top", "", "out-of-range"),
    ]
    assert refused("predict", "run", "flat", "--csv", "flat/000.png") == [
        ("--csv", "", "malformed")
    ]
    assert refused("evaluate", "run", "--csv", "mine.csv") == [("--csv", "", "conflict")]
    assert refused("evaluate", "run", *out) == [("--csv", "", "not-writable")]
    assert refused("evaluate", "in", "--images", "none", *out) == [
        ("--csv", "", "not-writable"),
        ("--images", "", "missing-file"),
        ("in", "", "missing-file"),
    ]
    assert (folder / "list.csv").read_text().startswith("image,path")
