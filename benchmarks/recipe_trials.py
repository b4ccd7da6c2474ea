"""Trials by which the recipes cifar_fast and cifar_fast_2k were chosen.

All train softmax alone. Each recipe is the cheapest that fits its training images: 95 % of them,
seen as the test sees images. Each trial is a job of the ordinary runner with other settings; what
is trained already is not trained again. CPU minutes are those of the process, so that other work
does not count.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ltbench.core.exact import fixed
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import RecordStore

RESULTS = Path(__file__).parent / "results"
GRID = """\
title: Trials of {recipe}
datasets: [{{name: {dataset}, imbalance_ratio: 100}}]
recipes: [{recipe}]
variants: [softmax]
"""
EPOCHS = "recipe.stage1.epochs={}", "recipe.stage1.schedule.warmup={}"


def epochs(total: int, warmup: int) -> tuple[str, ...]:
    """Return the settings of a shorter or longer training."""
    return EPOCHS[0].format(total), EPOCHS[1].format(warmup)


@dataclass(frozen=True)
class Choice:
    """A recipe with the trials that it was chosen by.

    Attributes:
        result: name of the file with their table.
    """

    recipe: str
    dataset: str
    result: str
    trials: tuple[tuple[str, ...], ...]


CHOICES = (
    Choice(
        "cifar_fast",
        "cifar10_jpeg",
        "recipe_trials.md",
        (
            epochs(24, 5),
            epochs(12, 2),
            epochs(16, 3),
            (),
            ("recipe.stage1.optimizer.lr=0.05", *epochs(24, 5)),
            ("recipe.stage1.optimizer.lr=0.2", *epochs(24, 5)),
            ("recipe.batch_size=64", *epochs(24, 5)),
            ("recipe.network=fastnet_narrow", *epochs(24, 5)),
            ("recipe.network=fastnet_wide", *epochs(12, 2)),
        ),
    ),
    Choice(
        "cifar_fast_2k",
        "cifar10_jpeg_2k",
        "recipe_trials_2k.md",
        (
            epochs(20, 4),
            (),
            epochs(32, 6),
            epochs(40, 8),
            ("recipe.batch_size=64", *epochs(20, 4)),
            ("recipe.batch_size=64", *epochs(24, 5)),
            ("recipe.batch_size=64", *epochs(32, 6)),
        ),
    ),
)
COLUMNS = (
    *("Network", "Epochs", "Warm-up epochs", "Batch size", "Learning rate"),
    *("Training accuracy", "Test accuracy", "CPU minutes"),
)


def main() -> None:
    """Run the missing trials of a recipe, and write their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=[each.recipe for each in CHOICES], required=True)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/trials"))
    words = parser.parse_args()
    choice = next(each for each in CHOICES if each.recipe == words.recipe)
    words.run_dir.mkdir(parents=True, exist_ok=True)
    grid = words.run_dir / f"{choice.recipe}_trials.yaml"
    grid.write_text(GRID.format(recipe=choice.recipe, dataset=choice.dataset))
    for trial in choice.trials:
        command = [sys.executable, "-m", "ltbench", "run", "--grid", str(grid), "--wandb", "off"]
        command += ["--run-dir", str(words.run_dir), "--data-root", words.data_root]
        command += [word for setting in trial for word in ("--set", setting)]
        subprocess.run(command, check=True)
    found = RecordStore(runs=RunDirectory(words.run_dir).records).load().records.values()
    text = table(choice, (stored.record for stored in found))
    (RESULTS / choice.result).write_text(text)
    print(text)


def table(choice: Choice, records: Iterable[Record]) -> str:
    """Return the trials of a recipe as markdown, the cheapest first."""
    lines = [f"# Trials of {choice.recipe}", ""]
    lines += ["Written by recipe_trials.py; never edited by hand.", ""]
    trials = [
        record
        for record in records
        if record.method == "softmax"
        and record.training
        and record.job.recipe.name == choice.recipe
    ]
    title = trials[0].job.dataset.title if trials else choice.dataset
    hardware = {record.environment.hardware for record in trials}
    lines += [f"{title}, ratio 100, seed 0; {', '.join(sorted(hardware))}.", ""]
    rulers = ("---", *["---:"] * (len(COLUMNS) - 1))
    lines += [f"| {' | '.join(cells)} |" for cells in (COLUMNS, rulers)]
    for record in sorted(trials, key=lambda each: each.cost.cpu_seconds):
        lines.append(f"| {' | '.join(_cells(record))} |")
    return "\n".join(lines) + "\n"


def _cells(record: Record) -> tuple[str, ...]:
    training, test = record.training, record.test
    if training is None or training.hits is None or test is None:
        raise ValueError(f"{record.key} was not trained and tested")
    fitted = 100 * sum(training.hits) / sum(record.split.train_counts)
    recipe = record.job.recipe
    return (
        recipe.network,
        str(training.epochs),
        str(recipe.stage1.schedule.warmup),
        str(recipe.batch_size),
        str(recipe.stage1.optimizer.lr),
        f"{fitted:.1f}",
        fixed(100 * test.accuracy, 1),
        f"{record.cost.cpu_seconds / 60:.1f}",
    )


if __name__ == "__main__":
    main()
