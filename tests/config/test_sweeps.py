"""Variants that sweep over values, and variants that change their recipe."""

import pytest

from ltbench.config.load import load_grid
from ltbench.config.overrides import parse_only
from tests.config.test_planning import DIGITS, plan
from tests.support.errors import problems
from tests.support.toy_project import GRID

HEAD = GRID[: GRID.index("variants:")]
LINE = HEAD.count("\n") + 2
"""Line of the first variant of a grid."""


def grid_with(project, *variants):
    """Return the grid `swept` with these variants."""
    project("grids/swept.yaml", HEAD + "variants:\n" + "".join(f"  - {{{v}}}\n" for v in variants))
    return load_grid("swept")


def test_there_is_a_trial_for_each_combination_of_values(project):
    sweep = "sweep: {deferred: [none, drw], stage1.optimizer.lr: [0.1, 0.2]}"
    made = grid_with(project, f"label: LDAM, method: ldam_drw, hparams: {{kinds: [1]}}, {sweep}")
    assert [variant.label for variant in made.variants] == [
        "LDAM, deferred none, lr 0.1",
        "LDAM, deferred none, lr 0.2",
        "LDAM, deferred drw, lr 0.1",
        "LDAM, deferred drw, lr 0.2",
    ]
    second = made.variants[1]
    assert second.hparams == {"kinds": [1], "deferred": "none"}
    assert second.recipe_overrides == {"stage1.optimizer.lr": 0.2}
    assert second.trial_of == "LDAM"
    assert not any(variant.sweep for variant in made.variants)


def test_names_with_the_same_end_are_whole_in_labels(project):
    sweep = "sweep: {stage1.epochs: [40], stage2.epochs: [5]}"
    (variant,) = grid_with(project, f"label: A, method: softmax, {sweep}").variants
    assert variant.label == "A, stage1.epochs 40, stage2.epochs 5"


def test_a_variant_set_may_sweep(project):
    project(
        "variants/swept.yaml",
        "variants: [{label: A, method: softmax, sweep: {stage1.epochs: [40]}}]",
    )
    project("grids/swept.yaml", HEAD + "variants: [softmax, {set: swept}]\n")
    assert [v.label for v in load_grid("swept").variants] == ["softmax", "A, epochs 40"]


@pytest.mark.parametrize(
    ("variant", "path", "code"),
    [
        ("sweep: {deferred: []}", "sweep.deferred", "out-of-range"),
        ("sweep: {deferred: drw}", "sweep.deferred", "wrong-type"),
        ("sweep: [drw]", "sweep", "wrong-type"),
        ("sweep: {}", "sweep", "out-of-range"),
        ("sweep: {scale: [1, 2, 1.0]}", "sweep.scale[2]", "duplicate"),
        ("hparams: {deferred: drw}, sweep: {deferred: [none]}", "sweep.deferred", "conflict"),
        ("recipe_overrides: {epochs: 3}", "recipe_overrides.epochs", "malformed"),
        ("recipe_overrides: {stage1.epoch: 3}", "recipe_overrides.stage1.epoch", "unknown-key"),
        ("recipe_overrides: {stage1.epochs: 0}", "recipe_overrides.stage1.epochs", "out-of-range"),
        ("sweep: {stage1.epochs: [0]}", "sweep.stage1.epochs", "out-of-range"),
    ],
)
def test_what_a_variant_cannot_change_is_refused_at_its_line(project, variant, path, code):
    found = problems(lambda: grid_with(project, f"label: A, method: ldam_drw, {variant}"))
    assert found == [(f"configs/grids/swept.yaml:{LINE}", f"variants[0].{path}", code)]


def test_all_problems_of_sweeps_are_named_together(project):
    bad = "label: {}, method: ldam_drw, sweep: {{deferred: []}}"
    assert len(problems(lambda: grid_with(project, bad.format("A"), bad.format("B")))) == 2


def test_values_of_a_sweep_are_checked_by_the_method(project, registry):
    variant = "label: A, method: ldam_drw, sweep: {no_such: [1]}"
    project("grids/swept.yaml", f"{HEAD}variants:\n  - {{{variant}}}\n")
    found = problems(lambda: load_grid("swept", registry=registry))
    assert [code for _, _, code in found] == ["unknown-key"]
    assert found[0][0] == f"configs/grids/swept.yaml:{LINE}"


def test_no_trial_is_tested_on_test_images():
    found = problems(lambda: plan({"label": "A, 1", "method": "softmax", "trial_of": "A"}))
    assert found == [("grid toy", "datasets", "conflict")]


def test_the_name_of_a_variant_is_that_of_its_trials():
    swept = [{"label": label, "method": "softmax", "trial_of": "A"} for label in ("A, 1", "A, 2")]
    held_out = DIGITS.model_copy(update={"tested_on": "auxiliary"})
    made = plan(*swept, {"label": "B", "method": "softmax"}, dataset=held_out)
    assert [row.variant.label for row in made.only(parse_only(["variant=A"]).matches).rows] == [
        "A, 1",
        "A, 2",
    ]
