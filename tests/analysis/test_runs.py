"""The table of runs, its summary, and its CSV."""

import csv
import io
import sys
from fractions import Fraction

import pytest

import ltbench
from ltbench.analysis.runs import Runs, table_of_runs
from ltbench.config.errors import ConfigError
from ltbench.runs.store import write_record

HITS = {0: (45, 40, 30, 20, 5, 1), 1: (46, 42, 28, 22, 3, 0)}
LDAM = {"label": "LDAM", "method": "ldam_drw", "hparams": {"max_margin": 0.5, "kinds": ["a", 1]}}
VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    LDAM,
    {**LDAM, "label": "LDAM 2", "hparams": {"max_margin": 1.5}},
    {"label": "cRT", "method": "crt", "init_from": "Softmax"},
]
FIELD = "recipe.stage1.optimizer.lr"


@pytest.fixture
def records(toy):
    plan = toy.plan(VARIANTS, splits=("longtailed",))
    return toy.stored(*(toy.record(job, HITS[job.seed]) for job in plan.jobs.values()))


@pytest.fixture
def runs(records):
    return table_of_runs(records)


def test_a_row_has_settings_metrics_and_costs(records, runs):
    assert len(runs) == len(records) == 8
    (row,) = runs.where(label="LDAM", seed=0)
    assert records[row["key"]].record.job.label == "LDAM"
    expected = {
        "grid": "toy_grid",
        "dataset": "toy_r40",
        "dataset_name": "toy",
        "imbalance_ratio": 40.0,
        "split": "longtailed",
        "method": "ldam_drw",
        "recipe": "short",
        "network": "resnet8",
        "epochs": 3,
        "batch_size": 32,
        "stage": "train",
        "init_from": "",
        "acc": 47.0,
        "worst_class": 2.0,
        "hp.max_margin": 0.5,
        "hp.kinds": ["a", 1],
        "train_seconds": 1.0,
        "parameters": 1000,
        "provenance": "published",
    }
    assert {name: row[name] for name in expected} == expected
    assert type(row) is dict
    assert tuple(row) == runs.columns
    assert "ua" not in row


def test_init_from_is_the_method_path_of_the_init_job(toy):
    variants = [*VARIANTS, {"label": "Again", "method": "lws", "init_from": "cRT"}]
    plan = toy.plan(variants, splits=("longtailed",), seeds=(0,))
    records = toy.stored(*(toy.record(job, HITS[0]) for job in plan.jobs.values()))
    init_from = {row["label"]: row["init_from"] for row in table_of_runs(records)}
    assert init_from["cRT"] == "softmax"
    assert init_from["Again"] == "softmax+crt"


def test_an_earlier_stage_of_the_same_method_is_not_in_init_from(toy):
    plan = toy.plan([*VARIANTS[:1], {**VARIANTS[3], "method": "softmax"}], seeds=(0,))
    records = toy.stored(*(toy.record(job, HITS[0]) for job in plan.jobs.values()))
    assert {row["init_from"] for row in table_of_runs(records)} == {""}


def test_where_takes_values_lists_and_hyper_parameters(runs):
    assert {row["method"] for row in runs.where(method="crt")} == {"crt"}
    assert len(runs.where(method=["crt", "softmax"], seed=1)) == 2
    assert len(runs.where(seed={0}, imbalance_ratio=40)) == 4
    assert [row["label"] for row in runs.where(**{"hp.max_margin": 1.5}, seed=0)] == ["LDAM 2"]
    assert len(runs.where(**{"hp.kinds": [["a", 1]]})) == 2
    assert len(runs.where(method="nothing")) == 0
    assert isinstance(runs.where(seed=0).where(method="crt"), Runs)


def test_rows_are_indexed_and_shown_in_short(runs):
    assert runs[0] == next(iter(runs))
    assert runs[-1] == list(runs)[-1]
    assert repr(runs.summary()) == f"<Rows: 4 rows, {len(runs.summary().columns)} columns>"
    with pytest.raises(IndexError):
        runs[len(runs)]


def test_where_names_every_unknown_column(runs):
    with pytest.raises(ConfigError) as raised:
        runs.where(datset="toy", method="crt", sead=1)
    assert [problem.path for problem in raised.value.problems] == ["datset", "sead"]


def test_a_summary_is_over_seeds_alone(runs):
    summary = runs.summary()
    assert "seed" not in summary.columns
    assert [row["label"] for row in summary] == ["cRT", "LDAM", "LDAM 2", "Softmax"]
    (row,) = (row for row in summary.exact if row["label"] == "LDAM")
    assert (row["n"], row["acc"]) == (2, Fraction(47))
    assert row["acc_std"] == 0
    assert row["many"] == Fraction(173, 2)
    assert float(row["many_std"]) == pytest.approx(3 / 2**0.5)
    (single,) = runs.where(label="LDAM", seed=0).summary()
    assert (single["n"], single["acc"], single["acc_std"]) == (1, 47.0, None)


def test_runs_of_another_configuration_are_summarized_separately(toy):
    plans = [
        toy.plan(VARIANTS[:1], splits=("longtailed",), recipe=recipe)
        for recipe in (toy.recipe(), toy.recipe(crop_padding=2))
    ]
    jobs = [job for plan in plans for job in plan.jobs.values()]
    runs = table_of_runs(toy.stored(*(toy.record(job, HITS[job.seed]) for job in jobs)))
    assert [row["n"] for row in runs.summary()] == [2, 2]


def test_fields_in_which_runs_of_a_recipe_differ_have_columns(toy, runs):
    assert not [name for name in runs.columns if name.startswith("recipe.")]
    slower = {"recipe_overrides": {"stage1.optimizer.lr": 0.05}}
    variants = [VARIANTS[0], {**VARIANTS[0], "label": "Slower", **slower}]
    plan = toy.plan(variants, splits=("longtailed",))
    runs = table_of_runs(
        toy.stored(*(toy.record(job, HITS[job.seed]) for job in plan.jobs.values()))
    )
    assert [name for name in runs.columns if name.startswith("recipe.")] == [FIELD]
    rates = {row["label"]: row[FIELD] for row in runs.summary()}
    assert rates == {"Softmax": toy.recipe().stage1.optimizer.lr, "Slower": 0.05}
    assert {row["label"] for row in runs.where(**{FIELD: 0.05})} == {"Slower"}


def test_a_metric_that_a_run_lacks_has_no_mean(toy, records):
    key, stored = next(iter(records.items()))
    training = stored.record.training.model_copy(update={"hits": (5,) * 6})
    changed = stored.record.model_copy(update={"training": training})
    runs = table_of_runs({**records, **toy.stored(changed)})
    (row,) = (row for row in runs if row["key"] == key)
    assert row["train_acc"] is not None
    assert all(row["train_acc"] is None for row in runs.summary())


def test_pretraining_has_no_metric(toy):
    plan = toy.plan(VARIANTS[:1], splits=("longtailed",), seeds=(0,))
    (job,) = plan.jobs.values()
    (row,) = table_of_runs(toy.stored(toy.record(job, HITS[0], test=None)))
    assert row["acc"] is None


def test_csv_can_be_read_back_and_holds_no_formula(toy):
    label = '=1+1, "quoted"\ttext'.replace("\t", " ")
    plan = toy.plan([{**LDAM, "label": label}], splits=("longtailed",), seeds=(1,))
    runs = table_of_runs(
        toy.stored(*(toy.record(job, HITS[job.seed]) for job in plan.jobs.values()))
    )
    (row,) = csv.DictReader(io.StringIO(runs.csv(), newline=""))
    assert tuple(row) == runs.columns
    assert row["label"] == f"'{label}"
    assert row["acc"] == "47.0000"
    assert row["geometric_mean"] == "0.0000"
    assert row["train_acc"] == ""
    assert row["hp.kinds"] == '["a", 1]'


def test_records_of_folders_are_read_and_bad_ones_warned_of(records, tmp_path):
    for stored in records.values():
        write_record(stored.record, tmp_path / "runs" / "records" / stored.name)
    (tmp_path / "runs" / "records" / "bad.json").write_text("{")
    with pytest.warns(UserWarning, match="bad.json"):
        runs = ltbench.load_runs(tmp_path / "published", tmp_path / "runs")
    assert {row["key"] for row in runs} == set(records)
    assert {row["provenance"] for row in runs} == {"run"}


def test_without_a_folder_there_are_no_runs(tmp_path):
    with pytest.raises(FileNotFoundError):
        ltbench.load_runs(tmp_path / "published", tmp_path / "runs")


def test_a_folder_that_is_not_one_of_records_is_an_error(records, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for stored in records.values():
        write_record(stored.record, tmp_path / "runs" / "records" / stored.name)
    assert len(ltbench.load_runs()) == len(records)
    with pytest.raises(FileNotFoundError, match="nope"):
        ltbench.load_runs("nope")
    with pytest.raises(ValueError, match=r"run folder: pass it as runs='runs'"):
        ltbench.load_runs("runs")


def test_without_pandas_there_is_no_frame(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pandas"):
        runs.to_pandas()


def test_a_frame_has_the_rows():
    pytest.importorskip("pandas")
    frame = Runs(("a", "b"), ({"a": Fraction(1, 2), "b": None},)).to_pandas()
    assert frame["a"].tolist() == [0.5]
