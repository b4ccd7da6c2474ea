from fractions import Fraction

import pytest

from ltbench.analysis.published import (
    REFERENCE,
    comparable,
    inconsistent_ra,
    published_numbers,
)
from ltbench.analysis.relative_accuracy import relative_accuracy
from ltbench.analysis.result_set import EMPTY, boards
from ltbench.config.yaml_file import read_yaml
from ltbench.report.board_tables import BY_GROUP_TABLE, MAIN_TABLE
from ltbench.report.published_tables import PUBLISHED_TABLE, published_cell
from ltbench.report.table import PRINTED_PERCENT, Column, cell_text
from tests.support.tables import made, said

STAGE = {"epochs": 200, "optimizer": {"lr": 0.1}, "schedule": {"kind": "constant"}}
CIFAR = {"name": "cifar100", "classes": 100, "imbalance_ratio": 100, "max_per_class": 500}
IMAGENET = {
    "name": "imagenet_lt",
    "classes": 1000,
    "imbalance_type": "natural",
    "imbalance_ratio": None,
}
VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "LDAM", "method": "ldam_drw", "hparams": {"deferred": "none"}},
    {"label": "LDAM-DRW", "method": "ldam_drw"},
    {"label": "CB sampling", "method": "class_balanced_sampling"},
    {"label": "IB-CRT", "method": "crt", "init_from": "Softmax"},
    {"label": "CB-CRT", "method": "crt", "init_from": "CB sampling"},
    {"label": "Tuned", "method": "ldam_drw", "hparams": {"max_margin": 0.3}},
    {"label": "Longer", "method": "softmax", "recipe": "longer"},
]


def board(toy, dataset, network, epochs=200, variants=VARIANTS, **changes):
    recipe = toy.recipe(network=network, stage1={**STAGE, "epochs": epochs}, **changes)
    plan = toy.plan(variants, dataset=toy.dataset(**dataset), recipe=recipe, splits=("longtailed",))
    return boards(plan, {})[0]


def texts(table, name):
    index = table.titles.index(name)
    return {row[0].text: said(table, row)[index] for row in table.rows}


def test_all_published_numbers_are_read():
    figures = published_numbers()
    assert len(figures) == 2186
    assert all(0 <= figure.value <= 100 and figure.source for figure in figures)


def test_survey_numbers_of_the_same_setting(toy):
    here = board(toy, IMAGENET, "resnext50_32x4d")
    table = made(MAIN_TABLE, here, toy.methods)
    assert table.titles[4:] == ("Survey Acc", "Survey UA", "Survey RA")
    assert texts(table, "Survey Acc") == {
        "Softmax": "46.8",
        "LDAM": EMPTY,
        "LDAM-DRW": "51.1",
        "CB sampling": EMPTY,
        "IB-CRT": "50.2 to 50.3",  # printed differently in two of its tables
        "CB-CRT": "43.0",
        "Tuned": EMPTY,
        "Longer": EMPTY,
    }
    assert texts(table, "Survey RA")["LDAM-DRW"] == "88.4"
    groups = made(BY_GROUP_TABLE, here)
    assert texts(groups, "Survey Few")["CB-CRT"] == "13.5"
    assert "Survey v1 Table 5 / v2 Table 4." in table.notes
    assert "Survey v1 Table 7 / v2 Table 10: 50.2." in table.notes
    assert "other settings may differ" in table.caption


def test_numbers_of_papers_for_cifar(toy):
    table = made(MAIN_TABLE, board(toy, CIFAR, "resnet32"), toy.methods)
    assert not any(name.startswith("Survey") for name in table.titles)
    papers = texts(table, "Papers Acc")
    assert papers["LDAM-DRW"] == "42.0 to 42.47"
    assert papers["Tuned"] == papers["Longer"] == EMPTY
    assert not any("copied" in note or "re-run" in note for note in table.notes)


def test_tuned_variants_have_no_published_numbers(toy):
    tuned = [
        {"label": "lr", "method": "softmax", "recipe_overrides": {"stage1.optimizer.lr": 0.5}},
        {"label": "Softmax (tuned)", "method": "softmax", "trials": ["a" * 16]},
    ]
    here = board(toy, IMAGENET, "resnext50_32x4d", variants=[VARIANTS[0], *tuned])
    assert texts(made(MAIN_TABLE, here, toy.methods), "Survey Acc") == {
        "Softmax": "46.8",
        "lr": EMPTY,
        "Softmax (tuned)": EMPTY,
    }


def test_numbers_of_the_same_augmentation_only(toy):
    variants = [{"label": m, "method": m} for m in ("softmax", "balanced_softmax", "sade")]
    plain, altered, other = (
        board(toy, IMAGENET, "resnext50_32x4d", variants=variants, policy=policy)
        for policy in ({}, {"kind": "randaugment"}, {"kind": "randaugment", "cutout": 16})
    )
    survey = {"softmax": EMPTY, "balanced_softmax": "53.2", "sade": "61.2"}
    assert texts(made(MAIN_TABLE, plain, toy.methods), "Survey Acc")["balanced_softmax"] == "51.2"
    assert texts(made(MAIN_TABLE, altered, toy.methods), "Survey Acc") == survey
    assert comparable(other).numbers == ()


@pytest.mark.parametrize(
    ("changes", "network", "epochs"),
    [
        ({"name": "cifar100_jpeg"}, "resnet32", 200),
        ({"imbalance_ratio": 20}, "resnet32", 200),
        ({"imbalance_type": "step"}, "resnet32", 200),
        ({"max_per_class": 400}, "resnet32", 200),
        ({}, "resnet20", 200),
        ({}, "resnet32", 30),
    ],
)
def test_no_numbers_for_another_setting(toy, changes, network, epochs):
    here = board(toy, {**CIFAR, **changes}, network, epochs)
    assert comparable(here).numbers == ()
    assert made(MAIN_TABLE, here, toy.methods).titles[-1] == "Acc"


def test_the_jpeg_copy_is_not_compared_to_cifar10(toy):
    jpeg = {"name": "cifar10_jpeg", "classes": 10, "imbalance_ratio": 100, "max_per_class": 5000}
    assert comparable(board(toy, jpeg, "resnet32")).numbers == ()
    assert comparable(board(toy, {**jpeg, "name": "cifar10"}, "resnet32")).numbers != ()


def test_every_mapped_name_is_in_the_published_numbers():
    names, _ = read_yaml(REFERENCE / "names.yaml")
    figures = published_numbers()
    assert {d["published"] for d in names["datasets"].values()} <= {f.dataset for f in figures}
    assert set(names["networks"].values()) <= {f.network for f in figures}
    wanted = {name for row in names["variants"] for name in row["published"]}
    assert wanted <= {f.method for f in figures}


def test_an_inconsistent_ra_is_shown_as_printed_with_a_note():
    survey = tuple(f for f in published_numbers() if f.method == "UNO-IC" and f.epochs == "90")
    [ratio] = [f for f in survey if f.metric == "ra"]
    cell = published_cell([ratio], inconsistent_ra(survey))
    assert cell_text(cell, Column("Survey RA", kind=PRINTED_PERCENT)) == "81.4"
    assert cell.notes[-1] == "Printed as 81.4; Acc / UA is 79.8."


def test_our_ra_equals_the_surveys_in_45_of_46_rows():
    figures = [f for f in published_numbers() if f.source == "Survey v1 Table 5 / v2 Table 4"]
    rows = {}
    for figure in figures:
        rows.setdefault((figure.method, figure.epochs), {})[figure.metric] = figure.value / 100
    assert len(rows) == 46
    missed = {}
    for (method, epochs), row in rows.items():
        vanilla = rows["Softmax", epochs]["ua"]
        ours = relative_accuracy([row["acc"]], [vanilla], [row["ua"]])
        assert ours.upper.mean == row["ua"]  # what is printed is never below softmax's
        if abs(ours.relative - row["ra"]) > 0.0015:  # rounding, by the survey's own decimals
            missed[method, epochs] = round(100 * ours.relative, 1)
    assert missed == {("UNO-IC", "90"): Fraction("79.8")}
    assert {(f.method, f.epochs) for f in inconsistent_ra(figures)} == set(missed)


def test_each_published_number_has_ours_source_and_difference(toy):
    recipe = toy.recipe(network="resnext50_32x4d", stage1={**STAGE, "epochs": 90})
    plan = toy.plan(
        [{"label": "UNO", "method": "uno_ic", "init_from": "S"}, {**VARIANTS[0], "label": "S"}],
        dataset=toy.dataset(**{**IMAGENET, "classes": 6}),
        recipe=recipe,
        seeds=(0,),
    )
    job = plan.jobs[toy.key_of(plan, "UNO")]
    records = toy.stored(toy.record(job, (40, 30, 20, 20, 10, 10)))
    [here] = boards(plan, records)
    table = made(PUBLISHED_TABLE, here)
    rows = {tuple(c.text for c in row[:3]): row for row in table.rows}
    source = "Survey v1 Table 5 / v2 Table 4"
    acc = rows["UNO", "Acc", source]
    assert said(table, acc)[3:] == ["43.3", "45.7", "-2.4"]
    assert acc[-1].value.keys == (job.key,)
    ratio = rows["UNO", "RA", source]
    assert said(table, ratio)[3:] == ["n/a", "81.4", EMPTY]
    assert ratio[4].notes == ("As printed; Acc / UA is 79.8.",)
    assert said(table, rows["S", "Acc", source])[3:] == ["missing", "45.5", EMPTY]
    assert made(PUBLISHED_TABLE, board(toy, CIFAR, "resnet20")) is None
