"""The most frequent errors, word for word; other tests compare location and code.

To accept reworded errors: LTBENCH_UPDATE_GOLDEN=1 pytest tests/cli/test_sentences.py, then read the
difference of tests/golden/sentences.txt as a user would.
"""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.config.job import Job
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import job_states
from ltbench.runs.store import RecordStore, record_path
from tests.support.project import FOLDER
from tests.support.quickstart import finish, key, load, quickstart

GOLDEN = Path(__file__).parent.parent / "golden" / "sentences.txt"
UPDATE = os.environ.get("LTBENCH_UPDATE_GOLDEN")

GRID = """\
title: Toys
datasets: [digits]
recipes: [digits]
variants:
  - softmax
"""

WRONG = """\
titel: Toys
datasets: [digit, {name: digits, imbalance_type: natural, imbalance_ratio: 5}]
recipes: [digit]
seeds: [0, one, -1]
variants:
  - balanced_sofmax
  - {label: A, method: ldam_drw, hparams: {deferred: never, scael: 1, scale: 0}}
  - {label: B, method: crt, init_from: C}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return an empty working directory, without settings of this machine."""
    for name in [name for name in os.environ if name.startswith("LTBENCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(GRID)
    return tmp_path


def command(line):
    """Return the error of a command."""
    result = CliRunner().invoke(app, line.split())
    assert hasattr(result.exception, "described"), result.output
    return result.exception.described()


def written(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def grid(text):
    written("grid.yaml", text)
    return command("plan -g grid.yaml")


def variants(*lines):
    return grid(GRID.replace("  - softmax\n", "".join(f"  - {line}\n" for line in lines)))


def plugin(text):
    written("mine.py", text)
    return command("plan -g grid.yaml --plugin mine.py")


def own(change):
    """Return the error of a folder of images after a change."""
    written("configs/datasets/own.yaml", FOLDER)
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    for part in ("train", "test"):
        for label in range(3):
            folder = Path("data/own", part, f"class{label}")
            folder.mkdir(parents=True)
            for i in range(3):
                Image.fromarray(pixels).save(folder / f"{i}.png")
    change(Path("data/own/train"))
    return command("data check own")


def damage(train):
    (train / "class0/0.png").write_bytes((train / "class0/0.png").read_bytes()[:45])
    (train / "class1/1.png").write_text("no image")
    Image.new("RGB", (9, 8)).save(train / "class2/2.png")


def empty_class(train):
    for path in (train / "class1").iterdir():
        path.unlink()


def no_cache(_):
    Path("cache").write_text("a file, not a folder")


def missing_folder():
    written("configs/datasets/own.yaml", FOLDER)
    return command("data check own")


def large_batch():
    recipe = yaml.safe_load((Path(__file__).parents[2] / "configs/recipes/digits.yaml").read_text())
    written("configs/recipes/large.yaml", yaml.safe_dump(recipe | {"batch_size": 500}))
    written("grid.yaml", GRID.replace("recipes: [digits]", "recipes: [large]"))
    return command("run -g grid.yaml --wandb off --device cpu")


def stale():
    plan, run_dir = quickstart("seed=0", "split=longtailed"), RunDirectory(Path("runs"))
    softmax = key(plan, "Softmax")
    finish(run_dir, Job(**plan.jobs[softmax].model_dump() | {"version": 7}))
    return job_states(plan, load(run_dir), run_dir)[softmax].reason


def bad_record(text):
    written("runs/records/a.json", text)
    (bad,) = RecordStore(runs=Path("runs/records")).load().bad
    return bad.described()


def old_protocol():
    plan, run_dir = quickstart("seed=0", "split=longtailed"), RunDirectory(Path("runs"))
    job = plan.jobs[key(plan, "Softmax")]
    finish(run_dir, job)
    path = record_path(run_dir.records, job)
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    return command("status -g quickstart")


def not_writable():
    Path("runs").write_text("a file, not a folder")
    return command("run -g grid.yaml --wandb off")


def nothing_to_evaluate():
    written("table.csv", "a,b\n")
    return command("evaluate run --images photographs --csv table.csv")


def nothing_to_check():
    written("metrics.py", "METRICS = []")
    return command("methods check metrics.py")


def without(package, launcher):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        return command(f"run -g grid.yaml --wandb off --launcher {launcher}")


def without_slurm():
    pytest.importorskip("submitit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        return command("run -g grid.yaml --wandb off --launcher slurm")


ERRORS = {
    "an unknown grid": lambda: command("plan -g quickstrat"),
    "a grid that is no file": lambda: command("plan -g absent.yaml"),
    "everything that is wrong with a grid": lambda: grid(WRONG),
    "a key given twice": lambda: grid(f"{GRID}title: Again\n"),
    "YAML with a tab": lambda: grid(GRID.replace("  - ", "\t- ")),
    "variants that start from each other": lambda: variants(
        "{label: A, method: crt, init_from: B}", "{label: B, method: lws, init_from: A}"
    ),
    "a huge grid": lambda: grid(GRID + f"seeds: {list(range(100_000))}\n"),
    "unknown settings": lambda: command(
        "plan -g grid.yaml --set recip.batch=3 --set recipe.batch_size --only seeds=1"
    ),
    "a filter that matches nothing": lambda: command("plan -g grid.yaml --only variant=sofmax"),
    "an option without effect": lambda: command("run -g grid.yaml --partition gpu"),
    "a plugin that fails": lambda: plugin("import nothing_at_all"),
    "a plugin without methods": lambda: plugin("x = 1"),
    "a file without methods to check": nothing_to_check,
    "no image folder": missing_folder,
    "no images to split": lambda: command("data split photographs"),
    "no images to evaluate on": nothing_to_evaluate,
    "a class without images": lambda: own(empty_class),
    "images that cannot be decoded": lambda: own(damage),
    "a cache that cannot be written": lambda: own(no_cache),
    "lists that were not prepared": lambda: command("data check imagenet_lt"),
    "a dataset without official lists": lambda: command("data check-lists digits --lists ."),
    "a batch that is too large": large_batch,
    "a run folder that is not there": lambda: command("status -g grid.yaml --run-dir gone"),
    "a run folder that cannot be written": not_writable,
    "a stale record": stale,
    "a run folder of an older version": old_protocol,
    "a file that is no record": lambda: bad_record("[]"),
    "a record of a later version": lambda: bad_record('{"schema_version": 99}'),
    "no records to verify": lambda: command("results verify --records gone"),
    "an unknown run": lambda: command("results export zz"),
    "a comparison with itself": lambda: command("compare A A"),
    "no Slurm": without_slurm,
    "Slurm without its package": lambda: without("submitit", "slurm"),
    "Ray without its package": lambda: without("ray", "ray"),
}


def golden():
    """Return the sentences of the golden file by title."""
    parts = re.split(r"^# (.*)\n", GOLDEN.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {about: said.strip() for about, said in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("about", ERRORS)
def test_errors_are_worded_as_in_the_golden_file(about, folder):
    said = ERRORS[about]().replace(str(folder), "FOLDER")
    said = re.sub(r"\b[0-9a-f]{16}\b", "KEY", re.sub(r"[\d,.]+ MB are free", "N MB are free", said))
    if UPDATE:
        sentences = (golden() if GOLDEN.exists() else {}) | {about: said}
        listed = (f"# {name}\n{sentences[name]}\n" for name in ERRORS if name in sentences)
        GOLDEN.write_text("\n".join(listed), encoding="utf-8")
    assert said == golden()[about]


def test_the_golden_file_has_no_other_sentences():
    assert list(golden()) == list(ERRORS)
