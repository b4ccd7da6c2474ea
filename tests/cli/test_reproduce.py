"""The cost of a published row on the command line."""

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.launch.plan import Request, make_plan
from ltbench.runs.store import record_path, write_record
from tests.support.made_records import record
from tests.support.project import FOLDER

GRID = """\
title: Own
datasets: [own]
recipes: [digits]
seeds: [0]
splits: [longtailed]
variants: [softmax]
"""


def test_images_are_counted_in_the_folder_of_the_datasets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/datasets").mkdir(parents=True)
    (tmp_path / "configs/datasets/own.yaml").write_text(FOLDER)
    (tmp_path / "grid.yaml").write_text(GRID)
    noise = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 2)):
        for k in range(3):
            folder = tmp_path / "elsewhere/own" / part / f"class{k}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = noise.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    plan, _ = make_plan(Request("grid.yaml", data_root=tmp_path / "elsewhere"))
    (job,) = plan.jobs.values()
    made = record(job, (1, 1, 1), counts=(20,) * 3, totals=(2,) * 3, rate=1.0)
    write_record(made, record_path(tmp_path / "records", job))
    options = {"--grid": "grid.yaml", "--records": "records", "--data-root": "elsewhere"}
    words = ["reproduce", "own/softmax/40", "--dry-run", "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, *(word for pair in options.items() for word in pair)])
    assert done.exit_code == 0, done.output
    assert "1 to train" in done.output
    assert "unknown" not in done.output
