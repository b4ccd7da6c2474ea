"""How far the order of methods agrees with a published one."""

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ltbench.analysis.agreement import (
    agreement,
    boards_of,
    comparable_runs,
    noise_interval,
    rank_correlation,
    read_history,
    reference_tables,
    scores_of,
    without_one,
)
from ltbench.analysis.runs import table_of_runs
from ltbench.config.load import load_recipe
from ltbench.config.registry import load_registry
from tests.support.errors import problems

(TABLE,) = reference_tables()
PUBLISHED = TABLE.accuracies(100)
HISTORY = Path(__file__).parents[2] / "benchmarks" / "results" / "resnet8_12_epochs.csv"


def run(row, acc, seed=0, **changes):
    return {
        "dataset": "cifar10_r100",
        "dataset_name": "cifar10",
        "imbalance_ratio": 100.0,
        "split": "longtailed",
        "recipe": "fast",
        "subset": "all",
        "auxiliary": "",
        "overrides": "",
        "method": row.method,
        "init_from": row.init_from,
        "seed": seed,
        "acc": Fraction(acc),
        **{f"hp.{name}": value for name, value in row.hparams.items()},
        **changes,
    }


def test_the_table_has_the_fifteen_rows_that_were_fixed():
    values = dict(zip((row.published for row in TABLE.rows), PUBLISHED, strict=True))
    assert len(values) == 15
    assert values["Softmax"] == Fraction("71.95")
    assert values["LDAM-DRW"] == Fraction("77.73")


def test_equal_orders_agree_and_reversed_ones_do_not():
    same = agreement(PUBLISHED, [[value] for value in PUBLISHED])
    assert (same.rho, same.tau, same.methods, same.seeds) == (1, 1, 15, 1)
    assert same.rho_interval == (1, 1)
    reversed_ = agreement(PUBLISHED, [[-value] for value in PUBLISHED])
    assert (reversed_.rho, reversed_.tau) == (-1, -1)


def test_coefficients_are_those_of_the_mean_over_seeds():
    ours = np.random.default_rng(1).integers(0, 9, size=(15, 3))  # with ties
    found = agreement(PUBLISHED, [[Fraction(int(n)) for n in row] for row in ours])
    theirs, means = [float(value) for value in PUBLISHED], ours.mean(axis=1)
    assert float(found.rho) == pytest.approx(stats.spearmanr(theirs, means).statistic)
    assert float(found.tau) == pytest.approx(stats.kendalltau(theirs, means).statistic)
    assert found.rho_interval[0] < found.rho < found.rho_interval[1]


def test_the_ceiling_is_what_the_table_says_of_itself():
    found = agreement(PUBLISHED, [[value] for value in TABLE.accuracies(TABLE.ceiling)])
    assert round(float(found.rho), 2) == 0.92
    low, high = noise_interval(PUBLISHED)
    assert 0.7 < low < high < 1


def test_an_order_needs_three_methods():
    with pytest.raises(ValueError, match="at least 3"):
        agreement(PUBLISHED[:2], [[value] for value in PUBLISHED[:2]])


def test_the_method_that_is_furthest_off_is_found():
    published = {name: Fraction(value) for value, name in enumerate("abcd")}
    ours = published | {"b": Fraction(9)}
    assert without_one(published, ours) == ("b", 1)
    assert rank_correlation([*published.values()], [*ours.values()]) < 1
    three = {name: published[name] for name in "abc"}
    assert without_one(three, three) is None
    tied = dict.fromkeys("acd", Fraction(5)) | {"b": Fraction(9)}
    name, rho = without_one(published, tied)
    assert name != "b"
    assert rho < 1


def test_scores_are_of_the_seeds_that_all_rows_have():
    softmax, *_, lws = TABLE.rows
    runs = [run(softmax, 60), run(softmax, 61, seed=1), run(lws, 70), run(lws, 71, seed=2)]
    assert scores_of(TABLE, runs) == {"Softmax": [60], "LWS": [70]}
    assert scores_of(TABLE, []) == {}


def test_scores_of_records_are_exact_and_without_experts(toy):
    variants = [{"label": "Softmax", "method": "softmax"}]
    plan = toy.plan(variants, seeds=(0,), splits=("longtailed",))
    (job,) = plan.jobs.values()
    expert = type(job)(**{**job.model_dump(), "subset": "few", "label": "Softmax, few-shot expert"})
    stored = toy.stored(toy.record(job, (25, 25, 25, 25, 25, 26)), toy.record(expert, (1,) * 6))
    assert scores_of(TABLE, table_of_runs(stored).exact) == {"Softmax": [Fraction(15100, 300)]}


def test_runs_with_other_values_or_another_beginning_are_left_out(toy):
    variants = [
        {"label": "Softmax", "method": "softmax"},
        {"label": "cRT", "method": "crt", "init_from": "Softmax"},
        {"label": "LDAM", "method": "ldam_drw", "hparams": {"deferred": "none"}},
        {"label": "other", "method": "ldam_drw", "hparams": {"deferred": "none", "scale": 10.0}},
        {"label": "SSP", "method": "ssp"},
        {"label": "Softmax + SSP", "method": "softmax", "init_from": "SSP"},
        {"label": "cRT + SSP", "method": "crt", "init_from": "Softmax + SSP"},
    ]
    plan = toy.plan(
        variants,
        seeds=(0,),
        splits=("longtailed",),
        dataset=toy.dataset(name="cifar10", imbalance_ratio=100),
        methods=load_registry().methods,
    )
    stored = toy.stored(*(toy.record(job, (25,) * 6) for job in plan.jobs.values()))
    runs = comparable_runs(stored)
    found = {run["label"] for run in runs if any(row.matches(run) for row in TABLE.rows)}
    assert found == {"Softmax", "cRT", "LDAM"}


def test_runs_under_a_changed_recipe_are_left_out(toy):
    changed = {"label": "lr", "method": "softmax", "recipe_overrides": {"stage1.optimizer.lr": 0.5}}
    cifar = toy.dataset(name="cifar10", imbalance_ratio=100)

    def labels(recipe):
        variants = [{"label": "Softmax", "method": "softmax"}, changed]
        plan = toy.plan(variants, seeds=(0,), splits=("longtailed",), dataset=cifar, recipe=recipe)
        stored = toy.stored(*(toy.record(job, (25,) * 6) for job in plan.jobs.values()))
        return {run["label"] for run in comparable_runs(stored)}

    assert labels(load_recipe("cifar_fast")) == {"Softmax"}
    assert labels(toy.recipe(name="unknown")) == {"Softmax", "lr"}


@pytest.mark.parametrize(
    "changes",
    [
        {"init_from": "focal"},
        {"overrides": "recipe.batch_size=64"},
        {"hp.deferred": "drs"},
        {"subset": "many"},
        {"auxiliary": "train_holdout"},
    ],
)
def test_another_variant_is_not_a_row_of_the_table(changes):
    ldam = next(row for row in TABLE.rows if row.published == "LDAM")
    assert ldam.matches(run(ldam, 60))
    assert not ldam.matches(run(ldam, 60, **changes))


def test_boards_are_long_tailed_and_of_the_tables_dataset_and_ratio():
    softmax = TABLE.rows[0]
    others = [{"split": "balanced"}, {"imbalance_ratio": 50.0}, {"dataset_name": "digits"}]
    runs = [run(softmax, 60), *(run(softmax, 1, **changes) for changes in others)]
    assert boards_of(TABLE, runs) == {("cifar10_r100", "fast"): runs[:1]}


def test_the_history_gives_the_accuracies_of_its_counts():
    boards = boards_of(TABLE, read_history(HISTORY))
    scores = scores_of(TABLE, boards["cifar10_jpeg_r100", "cifar_small"])
    with HISTORY.open(encoding="utf-8", newline="") as file:
        (row,) = (
            row
            for row in csv.DictReader(file)
            if (row["label"], row["split"], row["grid"], row["seed"])
            == ("Balanced Softmax", "longtailed", "cifar10_jpeg_lt_small", "0")
        )
    correct = sum(map(int, row["correct"].split()))
    assert scores["Balanced Softmax"][0] == Fraction(correct, 100)


@pytest.mark.parametrize("spoilt", ["1000 many", "1000 \udcff"])
def test_a_line_that_is_none_is_named(tmp_path, spoilt):
    lines = HISTORY.read_text().splitlines()
    path = tmp_path / "history.csv"
    text = "\n".join([lines[0], lines[1].replace("1000 1000", spoilt, 1)])
    path.write_text(text, errors="surrogateescape")
    (problem,) = problems(lambda: read_history(path))
    assert problem[0].endswith("history.csv:2")
    assert problem[-1] == "malformed"
