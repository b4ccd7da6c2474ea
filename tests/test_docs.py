"""What the documents show is run."""

import itertools
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from ltbench import load_runs
from ltbench.analysis.agreement import boards_of, comparable_runs, reference_tables, scores_of
from ltbench.cli import app
from ltbench.core.exact import fixed
from ltbench.runs.store import RecordStore
from ltbench.testing.jobs import Case
from ltbench.testing.verdicts import verdicts
from tests.support import processes

ROOT = Path(__file__).parent.parent
LTBENCH = [sys.executable, "-m", "ltbench"]

GRID = """
title: one method on the digits
datasets: [digits]
recipes: [short]
variants: [gce]
"""


def run(folder, words):
    environment = os.environ | {"LTBENCH_CACHE": str(folder / "cache")}
    environment.pop("LTBENCH_DATA", None)
    environment["WANDB_MODE"] = "disabled"
    done = processes.run(
        [*LTBENCH, *words.split()],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blocks(document, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@pytest.mark.slow
def test_the_method_of_the_guide_trains(tmp_path):
    (example,) = blocks("CONTRIBUTING.md", "python")
    (tmp_path / "gce.py").write_text(example)
    (tmp_path / "grid.yaml").write_text(GRID)
    recipe = yaml.safe_load((ROOT / "configs/recipes/digits.yaml").read_text())
    for stage in ("stage1", "stage2"):
        recipe[stage] |= {"epochs": 2, "schedule": {"kind": "constant"}}
        recipe[stage].pop("deferred_from_epoch", None)
    folder = tmp_path / "configs/recipes"
    folder.mkdir(parents=True)
    (folder / "short.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "above_half.py").write_text(blocks("docs/own-method.md", "python")[0])
    plugins = "--plugin gce.py --plugin above_half.py"
    assert "Above half" in run(tmp_path, f"run --grid grid.yaml {plugins} --wandb off --device cpu")
    assert len(list((tmp_path / "runs/records/digits_r20/longtailed/gce").glob("*.json"))) == 1


def test_the_checks_of_the_guide_are_tests_of_pytest(tmp_path):
    (tmp_path / "gce.py").write_text(*blocks("CONTRIBUTING.md", "python"))
    (tmp_path / "test_gce.py").write_text(blocks("docs/own-method.md", "python")[1])
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "declarations"]
    done = processes.run([*words, "test_gce.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"1 passed, \d+ deselected", done.stdout)


@pytest.mark.parametrize(
    "checks",
    [
        ("declarations", "step", "epoch_indices"),
        pytest.param(("mean", "training"), marks=pytest.mark.slow),  # two ranks, and a whole job
    ],
)
def test_the_example_with_streams_passes_its_checks(tmp_path, checks):
    plugin = tmp_path / "half_tail.py"
    plugin.write_text(blocks("docs/own-method.md", "python")[2])
    found = [*verdicts(Case("half_tail", plugin=plugin), checks)]
    assert [verdict.state for verdict in found] == ["passed"] * len(checks)


def test_the_training_script_runs():
    namespace = {}
    exec(blocks("docs/own-method.md", "python")[3], namespace)
    assert namespace["loss"].item() > 0
    assert len(namespace["batches"][0]) == 16


def test_the_readme_example_of_a_loss_runs():
    (example,) = blocks("README.md", "python")
    processes.run([sys.executable, "-c", example], check=True)


def test_the_example_of_reading_runs_prints_means_over_seeds():
    (example,) = blocks("docs/leaderboard.md", "python")
    done = processes.run(
        [sys.executable, "-c", example], cwd=ROOT, check=True, capture_output=True, text=True
    )
    label, n, acc, _ = done.stdout.splitlines()[0].rsplit(maxsplit=3)
    assert label
    assert int(n) >= 1
    assert 10 < float(acc) < 100


FAST, DOUBLE, QUADRUPLE = "cifar_fast", "cifar_fast_double", "cifar_fast_quadruple"
FAST_2K = "cifar_fast_2k"
ADJUSTED = "Post-hoc logit adjustment"
MIXED = "mixup + post-hoc adjustment"
SEEDS = range(3)
FIGURES = {
    r"softmax has (\S+) % of its training images right, these (\S+) and (\S+) %": [
        (FAST, label, "train_acc", SEEDS) for label in ("Softmax", "Focal", "LDAM")
    ],
    r"LDAM has (\S+) % of the test images right instead of (\S+) and is above": [
        (recipe, "LDAM", "acc", [0]) for recipe in (DOUBLE, FAST)
    ],
    r"above softmax \((\S+) instead of (\S+)\)": [
        (recipe, "Softmax", "acc", [0]) for recipe in (DOUBLE, FAST)
    ],
    r"focal loss is below it, with (\S+) instead of (\S+)\.": [
        (recipe, "Focal", "acc", [0]) for recipe in (DOUBLE, FAST)
    ],
    r"Class-balanced loss has (\S+) instead of (\S+),": [
        (recipe, "Class-balanced loss", "acc", [0]) for recipe in (DOUBLE, FAST)
    ],
    r"class-balanced focal loss (\S+) instead of (\S+)\.": [
        (recipe, "Class-balanced focal", "acc", [0]) for recipe in (DOUBLE, FAST)
    ],
    r"LDAM has (\S+) % of the test images right after 20 epochs, above softmax, "
    r"LDAM-DRW (\S+) instead of (\S+), RIDE (\S+) instead of (\S+), and BCL (\S+) instead of "
    r"(\S+), above balanced": [
        (FAST, "LDAM, cosines times 10", "acc", [0]),
        (FAST, "LDAM-DRW, cosines times 10", "acc", [0]),
        (FAST, "LDAM-DRW", "acc", [0]),
        (FAST, "RIDE, cosines times 10", "acc", [0]),
        (FAST, "RIDE", "acc", [0]),
        (FAST, "BCL, cosines times 10", "acc", [0]),
        (FAST, "BCL", "acc", [0]),
    ],
    r"SADE has (\S+) instead of (\S+), RIDE (\S+) instead of (\S+), BCL (\S+) instead of (\S+) "
    r"and SHIKE (\S+) instead of (\S+)\.": [
        (FAST_2K, f"{label}{changed}", "acc", [0])
        for label in ("SADE", "RIDE", "BCL", "SHIKE")
        for changed in (", cosines times 10", "")
    ],
    r"it has (\S+) % of its training images right, but (\S+) % of the test images, "
    r"softmax (\S+)\.": [
        (QUADRUPLE, "mixup", "train_acc", [0]),
        (QUADRUPLE, "mixup", "acc", [0]),
        (QUADRUPLE, "Softmax", "acc", [0]),
    ],
    r"adjustment mixup has (\S+), softmax (\S+)\.": [
        (QUADRUPLE, label, "acc", [0]) for label in (MIXED, ADJUSTED)
    ],
    r"after 20 it has (\S+), below softmax, after 80 (\S+), above it, and (\S+) with adjusted": [
        (FAST, "CutMix", "acc", [0]),
        (QUADRUPLE, "CutMix", "acc", [0]),
        (QUADRUPLE, "CutMix + post-hoc adjustment", "acc", [0]),
    ],
}
"""Sentences of docs/fast-board.md, with recipe, label, metric and seeds of each figure."""


def test_the_figures_of_the_fast_board_are_those_of_the_records():
    text = " ".join((ROOT / "docs/fast-board.md").read_text().split())
    runs = load_runs(ROOT / "results/records")
    for sentence, sources in FIGURES.items():
        stated = re.search(sentence, text)
        assert stated, sentence
        for figure, (recipe, label, metric, seeds) in zip(stated.groups(), sources, strict=True):
            rows = runs.where(
                dataset="cifar10_jpeg_2k_r100" if recipe == FAST_2K else "cifar10_jpeg_r100",
                split="longtailed",
                recipe=recipe,
                label=label,
                seed=seeds,
            )
            rows = [row for row in rows if row["stage"] != "experts"]  # SHIKE's first, tested too
            assert [row["seed"] for row in rows] == list(seeds)
            mean = sum(row[metric] for row in rows) / len(rows)
            assert float(figure) == pytest.approx(mean, abs=0.0501), (sentence, label)


def test_the_rank_correlations_of_the_fast_board_are_those_of_the_results():
    text = " ".join((ROOT / "docs/fast-board.md").read_text().split())
    stated = re.search(
        r"published order is (\S+) instead of (\S+), .*?\(intervals of (.*?) and (.*?)\)", text
    )
    table = (ROOT / "results/README.md").read_text().replace("\\_", "_")
    rows = {
        recipe: re.search(rf"\| cifar10_jpeg_r100, {recipe} *\|(.*)\|", table)[1].split("|")
        for recipe in (DOUBLE, FAST, QUADRUPLE)
    }
    found = [rows[recipe][column].strip() for column in (2, 3) for recipe in (DOUBLE, FAST)]
    assert list(stated.groups()) == found
    (longest,) = re.search(r"after 80 the correlation is (\S+)\. The", text).groups()
    assert longest == rows[QUADRUPLE][2].strip()
    without = re.search(
        r"is mixup: without it the correlation is (\S+) after 20 epochs, (\S+) after 40 and (\S+) "
        r"after 80\.",
        text,
    )
    for recipe, figure in zip((FAST, DOUBLE, QUADRUPLE), without.groups(), strict=True):
        assert [cell.strip() for cell in rows[recipe][6:8]] == ["Mixup", figure]


def test_the_methods_that_gain_less_than_published_are_named():
    text = " ".join((ROOT / "docs/fast-board.md").read_text().split())
    (table,) = reference_tables()
    published = dict(zip((row.published for row in table.rows), table.accuracies(100), strict=True))
    records = RecordStore(ROOT / "results/records").load().records
    runs = boards_of(table, comparable_runs(records))["cifar10_jpeg_r100", FAST]
    ours = {name: mean(seeds) for name, seeds in scores_of(table, runs).items()}
    gains = {
        name: (published[name] - published["Softmax"], ours[name] - ours["Softmax"])
        for name in published
    }
    less = {name for name, (theirs, own) in gains.items() if own < theirs}
    assert less == {"Mixup", "LDAM", "Focal", "CB-Focal", "Class-balanced sampling"}
    assert "Five methods gain less over softmax than published: mixup and LDAM" in text
    for name, pattern in {
        "CB-Focal": r"focal loss gains (\S+) points instead of ([\d.]+\d)",
        "Class-balanced sampling": r"class-balanced sampling (\S+) instead of ([\d.]+\d)",
    }.items():
        stated = re.search(pattern, text)
        assert [fixed(gain, 1) for gain in gains[name][::-1]] == list(stated.groups())
    more = sorted(gains, key=lambda name: gains[name][1] - gains[name][0], reverse=True)
    assert more[:4] == ["Weighted Softmax (CS_CE)", "LWS", "cRT", "Balanced Softmax"]


def test_what_accuracy_measures_is_that_of_the_captions():
    text = " ".join((ROOT / "docs/fast-board.md").read_text().split())
    stated = re.search(
        r"it is (\S+) after 20 epochs, (\S+) after 40 and (\S+) after 80, while that with skew is "
        r"(\S+), (\S+) and (\S+)\.",
        text,
    )
    captions = (ROOT / "results/grids/epochs_fast.md").read_text()
    found = []
    for metric in ("AUROC", "Skew"):
        of_boards = re.findall(rf"Rank correlation with Acc.*?{metric} (\S+),", captions)
        assert len(of_boards) == 3
        found += of_boards
    assert list(stated.groups()) == found


def test_the_readme_dataset_is_checked(tmp_path):
    grid, example = blocks("README.md", "yaml")
    (tmp_path / "my_grid.yaml").write_text(grid)
    (tmp_path / "configs/datasets").mkdir(parents=True)
    (tmp_path / "configs/datasets/pets.yaml").write_text(example)
    noise = np.random.default_rng(0)
    for kind in ("cat", "dog", "owl"):
        folder = tmp_path / "data/pets" / kind
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = noise.integers(0, 256, (*noise.integers(20, 40, 2), 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.jpg")
    assert "48 training and 12 test" in run(tmp_path, "data split data/pets")
    assert "48 images" in run(tmp_path, "data check pets")
    assert "5 runs, 5 jobs" in run(tmp_path, "plan --grid my_grid.yaml --device cpu")


@pytest.mark.slow
def test_the_guide_to_own_images_leads_from_photographs_to_predictions(tmp_path):
    noise = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, count in (("cat", 15), ("dog", 10), ("owl", 5)):
        folder = tmp_path / "data/pets" / name
        folder.mkdir(parents=True)
        (folder / "Thumbs.db").write_bytes(b"no image")
        for i in range(count):
            pixels = noise.integers(0, 256, (*noise.integers(60, 120, 2), 3), np.uint8)
            image = Image.fromarray(pixels).convert("RGB" if i % 4 else "L")
            suffix = ("jpg", "JPG", "png", "webp", "tif", "bmp")[i % 6]
            image.save(folder / f"photo {i}.{suffix}", exif=turned if i % 5 == 1 else b"")
    for example in blocks("docs/own-images.md", "yaml"):
        path = tmp_path / example.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(example)
    train, predict = blocks("docs/own-images.md", "sh")
    said = "".join(run(tmp_path, line.removeprefix("ltbench ")) for line in train.splitlines())
    assert "24 images, 4 to 12 a class" in said
    assert re.search(r"30, [\d.]+ MB, 0 undecodable", said)
    (board,) = (path.read_text() for path in (tmp_path / "board/grids").glob("*.md"))
    for words in ("Balanced acc", "Macro F1", "each class", "| owl"):
        assert words in board
    key = min(path.name for path in (tmp_path / "runs/jobs").iterdir())
    rows = (tmp_path / "data/pets/split.csv").read_text().splitlines()
    photos = [tmp_path / "data/pets" / row.split(",")[0] for row in rows if row.endswith(",test")]
    for path in photos:
        copy = tmp_path / "photos" / path.relative_to(tmp_path / "data/pets")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for line in predict.splitlines():
        run(tmp_path, line.removeprefix("ltbench ").replace("KEY", key))
    header, *rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["image", "predicted", "probability"]
    assert len(rows) == len(photos) == 6
    shutil.copy(photos[0], tmp_path / "photo.jpg")
    (example,) = blocks("docs/reproduce.md", "python")
    done = processes.run(
        [sys.executable, "-c", example.replace("KEY", key)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    name, probability = done.stdout.split()
    assert name in ("cat", "dog", "owl")
    assert 1 / 3 <= float(probability) <= 1


def commands():
    """Yield every command of ours in a block of shell, once, with a document that has it."""
    seen = set()
    pages = set(ROOT.glob("docs/*.md")) - {ROOT / "docs/own-images.md"}  # which is run as a whole
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(pages)]:
        for block in blocks(path.relative_to(ROOT), "sh"):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["ltbench"] and line not in seen:
                    seen.add(line)
                    yield pytest.param(words[1:], id=f"{path.name}: {' '.join(words[1:])}")


AS_IT_IS = {"plan", "status", "leaderboard", "methods", "reproduce", "config", "wandb"}
"""Verbs that need no images but those of the digits, and train nothing."""


GRIDS = {"imagenet_lt": "imagenet_lt"}
"""Grid of a row by dataset, so that not every grid has to be planned; else `quickstart`."""


@pytest.mark.parametrize("words", [*commands()])
def test_a_documented_command_runs_or_is_planned(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LTBENCH_DATA", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "my_grid.yaml").write_text(GRID.replace("short", "digits"))
    (tmp_path / "gce.py").write_text(*blocks("CONTRIBUTING.md", "python"))
    (tmp_path / "above_half.py").write_text(blocks("docs/own-method.md", "python")[0])
    check_words(words)
    words = [word.replace("/shared/runs", str(tmp_path)) for word in words]
    if words[0] == "reproduce":
        grid = GRIDS.get(words[1].split("/")[0], "quickstart") if words[1:] else "quickstart"
        words = [*words, "--grid", grid, "--records", str(ROOT / "results/records")]
    elif words[0] not in AS_IT_IS and words != ["data", "check", "digits"]:
        words = planned(words)
    if words is not None:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output or done.exception


def check_words(words):
    """Check verbs and options without running them."""
    command, context = typer.main.get_command(app), None
    while hasattr(command, "resolve_command"):
        context = command.context_class(command, parent=context, info_name=command.name)
        _, command, words = command.resolve_command(context, words)
    command.make_context(command.name, list(words), parent=context)


def planned(words):
    """Return the plan of the grid that a command trains; None where it needs a run or images.

    end_to_end/test_reproduce.py exports and evaluates a run, data/test_prepare.py prepares images.
    """
    if "--grid" not in words:
        return None
    kept = ["plan", "--device", "cpu"]
    for option in ("--grid", "--only", "--set", "--plugin"):
        kept += [w for o, v in itertools.pairwise(words) if o == option for w in (o, v)]
    return kept


def test_every_fault_has_its_row_and_tests_that_are_there():
    text = (ROOT / "docs/reliability.md").read_text()
    rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    for number, tests in rows:
        files = re.findall(r"`(\S+\.py)`", tests)
        assert files, f"row {number} names no test"
        assert all((ROOT / "tests" / file).is_file() for file in files), f"row {number}: {files}"
