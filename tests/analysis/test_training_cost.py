from dataclasses import replace
from fractions import Fraction

import pytest

from ltbench.analysis.result_set import boards
from ltbench.analysis.training_cost import training_flops
from ltbench.core.types import NetworkCost, Stage, Teacher
from ltbench.runs.record import Passes, Training

HITS = (45, 43, 30, 20, 5, 1)
IMAGES, DRAWN, PASS = 455, 3 * 32, 70
"""Of the toy world: training images, those of three steps of 32, megaflops."""
COST = NetworkCost(1000, PASS)


def work_of(toy, plan, changed, **methods):
    """Return the FLOPs of a grid's last variant, in passes of the toy network."""
    records = toy.stored(*(changed(toy.record(job, HITS)) for job in plan.jobs.values()))
    board = boards(plan, records)[0]
    work = training_flops(board.entries[-1], toy.methods | methods, records)
    return work.megaflops / PASS, work.known


def of_one(toy, stage, cost=COST, teachers=(), recipe=None, passes=(1.0, 0.0), **changes):
    """Return the FLOPs of a method with its own stage, in passes of the toy network.

    Each training step has `passes` with a gradient and forward-only ones.
    """
    gradient, forward = passes
    training = Training(
        epochs=3,
        steps=3,
        losses=(1.0,) * 3,
        passes=Passes(gradient=gradient, forward=forward, teachers=len(teachers)),
    )
    recipe = recipe or toy.recipe()
    plan = toy.plan(
        [{"label": "Mine", "method": "mine", "hparams": {"kind": "b"}}],
        splits=("longtailed",),
        seeds=(0,),
        recipe=recipe,
    )
    update = {"stages": (stage,), "cost": cost, "teachers": teachers}
    info = toy.methods["softmax"].model_copy(update=update)
    changes["training"] = training
    return work_of(toy, plan, lambda record: record.model_copy(update=changes), mine=info)


@pytest.mark.parametrize(
    ("passes", "total"),
    [
        ((1.0, 0.0), 3 * DRAWN),
        ((1.0, 1.0), 4 * DRAWN),
        ((0.0, 1.0), DRAWN),
        ((2.0, 0.5), Fraction("6.5") * DRAWN),
    ],
)
def test_passes_are_those_of_the_record(toy, passes, total):
    assert of_one(toy, Stage("train"), passes=passes) == (total, True)


STATISTICS = {"needs_statistics_pass": True}


@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({"views": ("recipe", "recipe")}, 3 * DRAWN),
        ({"samplers": ("instance", "reversed")}, 2 * 3 * DRAWN),
        (STATISTICS, 3 * DRAWN + IMAGES),
        ({"changes": (({"kind": "b"}, STATISTICS),)}, 3 * DRAWN + IMAGES),
        ({"changes": (({"kind": "a"}, STATISTICS),)}, 3 * DRAWN),
    ],
)
def test_samplers_and_statistics_are_those_of_the_stage(toy, fields, total):
    assert of_one(toy, Stage("train", **fields)) == (total, True)


def test_forward_passes_of_teachers_of_non_empty_groups_are_counted(toy):
    teachers = tuple(Teacher("softmax", subset=s) for s in ("many", "medium", "few"))
    cost = NetworkCost(1000, PASS, teachers=(PASS, 2.0 * PASS, 4.0 * PASS))
    stage = Stage("train", needs_statistics_pass=True)
    assert of_one(toy, stage, cost, teachers)[0] == (3 + 7) * DRAWN + 7 * IMAGES
    split = toy.record(next(iter(toy.plan([TOY]).jobs.values())), HITS).split
    few = split.model_copy(update={"longtailed_counts": (10,) * 6})
    assert of_one(toy, stage, cost, teachers, split=few)[0] == (3 + 4) * DRAWN + 4 * IMAGES


TOY = {"label": "Softmax", "method": "softmax"}


def test_tuning_on_held_out_images_counts_forward_passes(toy):
    split = toy.record(next(iter(toy.plan([TOY]).jobs.values())), HITS).split
    split = split.model_copy(update={"auxiliary_counts": (10,) * 6})
    assert of_one(toy, Stage("train", tunes_on_validation="end"), split=split)[0] == 3 * DRAWN + 60
    each = Stage("train", tunes_on_validation="epochs")
    epochs = toy.recipe().stage1.epochs
    assert epochs > 1
    assert of_one(toy, each, split=split)[0] == 3 * DRAWN + 60 * epochs


def test_features_of_a_frozen_backbone_are_computed_once(toy):
    kept = toy.recipe(stage1=toy.recipe().stage1.model_copy(update={"cached_features": True}))
    assert of_one(toy, Stage("train"), recipe=kept, passes=(0.0, 1.0))[0] == IMAGES
    assert of_one(toy, Stage("train"), recipe=kept, passes=(1.0, 1.0))[0] == 4 * DRAWN


def test_an_unknown_network_counts_as_that_of_softmax_with_its_own_passes(toy):
    assert of_one(toy, Stage("train"), cost=None, passes=(1.0, 1.0)) == (4 * DRAWN, False)
    assert of_one(toy, Stage("train"), None, (Teacher("softmax"),)) == (4 * DRAWN, False)


def test_flops_are_of_the_networks_on_the_backbone_of_the_recipe(toy):
    """On the toy backbone the method's network is twice as large as softmax's."""
    backbone = toy.recipe().network
    larger = {backbone: replace(COST, megaflops=2 * PASS), "other": replace(COST, megaflops=9)}
    plan = toy.plan([TOY, {"label": "A", "method": "a"}], splits=("longtailed",), seeds=(0,))
    info = toy.methods["softmax"].model_copy(update={"other_costs": larger})
    assert work_of(toy, plan, lambda record: record, a=info) == (6 * DRAWN, True)
    assert info.cost_on("resnet50") == info.cost
