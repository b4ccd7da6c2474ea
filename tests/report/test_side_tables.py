"""Calibration, cost, metric losses, and recipes side by side."""

import pytest

from ltbench.analysis.result_set import EMPTY, boards
from ltbench.analysis.training_cost import training_time
from ltbench.config.planning import Plan
from ltbench.core.types import NetworkCost, Stage
from ltbench.report.board_tables import CALIBRATION_TABLE, MAIN_TABLE
from ltbench.report.context import OWN_READING
from ltbench.report.cost_table import COST_TABLE
from ltbench.report.method_tables import Methods
from ltbench.report.metric_loss_table import METRIC_LOSSES_TABLE
from ltbench.report.tables import recipe_tables
from ltbench.runs.record import Calibration
from tests.support.tables import made, said, texts

HITS = (45, 40, 30, 20, 5, 1)
SOFTMAX = {"label": "Softmax", "method": "softmax"}
CRT = {"label": "cRT", "method": "crt", "init_from": "Softmax"}
TAU = {"label": "tau-norm", "method": "tau_norm", "init_from": "Softmax"}
OTHER = {"label": "Other", "method": "other"}


def test_calibration_is_the_records_and_the_lowest_error_is_best(toy):
    plan = toy.plan([SOFTMAX, CRT, OTHER], splits=("longtailed",))
    bins = {
        "Softmax": Calibration(counts=(100, 200), confidence=(0.3, 0.9), accuracy=(0, 0), ece=0.25),
        "cRT": Calibration(counts=(300,), confidence=(0.5,), accuracy=(0,), ece=0.125),
    }
    grouped = {"cRT": {"many": bins["cRT"], "few": bins["Softmax"]}}
    stored = []
    for job in plan.jobs.values():
        if job.label in bins:
            record = toy.record(job, HITS)
            found = {
                "calibration": bins[job.label],
                "group_calibration": grouped.get(job.label, {}),
            }
            test = record.test.model_copy(update=found)
            stored.append(record.model_copy(update={"test": test}))
    records = toy.stored(*stored)
    table = made(CALIBRATION_TABLE, boards(plan, records)[0], toy.methods, records)
    assert texts(table) == {
        "Softmax": ["47.0 ± 0.0", "25.0 ± 0.0", "70.0 ± 0.0", EMPTY, EMPTY],
        "cRT": ["47.0 ± 0.0", "12.5 ± 0.0", "50.0 ± 0.0", "12.5 ± 0.0", "25.0 ± 0.0"],
        "Other": ["missing"] * 5,
    }
    assert "ECE Medium" not in table.titles  # no class is in that group
    assert [row[2].rank for row in table.rows] == [2, 1, 0]


def test_a_reading_of_ours_says_so(toy):
    board = boards(toy.plan([SOFTMAX, CRT], splits=("longtailed",)), {})[0]
    reading = toy.methods["crt"].model_copy(update={"own_reading": True})
    assert OWN_READING not in made(MAIN_TABLE, board, toy.methods).notes
    table = made(MAIN_TABLE, board, {**toy.methods, "crt": reading})
    assert [OWN_READING in row[0].footnotes for row in table.rows] == [False, True]
    status = Methods(toy.methods).status
    assert status(reading) == f"{status(toy.methods['crt'])}, our reading"


@pytest.fixture
def costly(toy):
    """Softmax takes an hour, cRT half an hour more; tau-norm lacks seed 1."""
    plan = toy.plan([SOFTMAX, CRT, TAU, OTHER], splits=("longtailed",))
    seconds = {"Softmax": 3600.0, "cRT": 1800.0, "tau-norm": 0.0}
    found = []
    for job in plan.jobs.values():
        if job.label in seconds and (job.label, job.seed) != ("tau-norm", 1):
            record = toy.record(job, HITS)
            trained = job.label != "tau-norm"
            cost = record.cost.model_copy(
                update={
                    "train_seconds": seconds[job.label],
                    "test_seconds": 0.0,
                    "cpu_seconds": seconds[job.label],
                    "images_per_second": 455.0 if trained else None,
                }
            )
            found.append(record.model_copy(update={"cost": cost}))
    return plan, toy.stored(*found)


def test_cost_includes_init_jobs(toy, costly):
    plan, records = costly
    methods = toy.methods | {
        "crt": toy.methods["crt"].model_copy(update={"cost": NetworkCost(1000, 84.0)}),
        # nothing there trains
        "tau_norm": toy.methods["tau_norm"].model_copy(update={"cost": None}),
    }
    table = made(COST_TABLE, boards(plan, records)[0], methods, records)
    partial = "{} (1/2 seeds)".format
    assert texts(table) == {
        "Softmax": ["1", "1.0x", "1.0x", "300", "1,000", "1.00x"],
        "cRT": ["1.5", "1.5x", "2.2x", "300", "1,000", "1.20x"],
        "tau-norm": [
            *map(partial, ("1", "1.0x", "1.0x")),
            *(partial("300"), partial("1,000"), EMPTY),
        ],
        "Other": ["missing", *[EMPTY] * 5],
    }
    assert table.caption.endswith(" Hardware: CPU.")
    keys = set(table.rows[1][1].value.keys)
    assert keys == {job.key for job in plan.jobs.values() if job.label in ("Softmax", "cRT")}


@pytest.mark.parametrize("unknown", [{"cost": None}, {"stages": (Stage("other"),)}])
def test_a_network_that_the_registry_lacks_counts_as_that_of_softmax(toy, costly, unknown):
    plan, records = costly
    methods = toy.methods | {"crt": toy.methods["crt"].model_copy(update=unknown)}
    assert texts(made(COST_TABLE, boards(plan, records)[0], methods, records))["cRT"][2] == "~2.0x"


def test_costs_are_of_the_backbone_of_the_board(toy, costly):
    plan, records = costly
    (board, *_), backbone = boards(plan, records), toy.recipe().network
    on_board = {
        key: toy.methods[key].model_copy(
            update={"other_costs": {backbone: NetworkCost(1000, cost)}}
        )
        for key, cost in (("softmax", 50.0), ("crt", 75.0))
    }
    table = made(COST_TABLE, board, toy.methods | on_board, records)
    assert texts(table)["cRT"][5] == "1.50x"
    assert f"Both are of {backbone} with" in table.caption
    assert "Both are of resnet32 with" in made(COST_TABLE, board, toy.methods, records).caption


def test_no_cost_is_known_without_the_record_of_an_init_job(toy, costly):
    plan, records = costly
    init_job = toy.key_of(plan, "Softmax", 0)
    board = boards(plan, {key: found for key, found in records.items() if key != init_job})[0]
    assert training_time(board.entries[1], records) is not None
    lacking = {key: found for key, found in records.items() if key != init_job}
    assert training_time(board.entries[1], lacking) is None
    assert texts(made(COST_TABLE, board, toy.methods, lacking))["cRT"][:2] == ["n/a", EMPTY]


def test_other_hardware_is_marked(toy, costly):
    plan, records = costly
    key = toy.key_of(plan, "cRT", 0)
    where = records[key].record.environment.model_copy(update={"hardware": "GPU"})
    records |= toy.stored(records[key].record.model_copy(update={"environment": where}))
    row = texts(made(COST_TABLE, boards(plan, records)[0], toy.methods, records))["cRT"]
    assert (row[1], row[-1]) == ("~1.5x", "CPU; GPU")


def test_memory_of_a_gpu_is_marked_and_never_averaged_with_a_hosts(toy, costly):
    plan, records = costly
    for seed, shown in ((0, EMPTY), (1, "300 GPU")):
        key = toy.key_of(plan, "Softmax", seed)
        cost = records[key].record.cost.model_copy(update={"memory": "gpu"})
        records |= toy.stored(records[key].record.model_copy(update={"cost": cost}))
        table = made(COST_TABLE, boards(plan, records)[0], toy.methods, records)
        cells = dict(zip(table.titles[1:], texts(table)["Softmax"], strict=True))
        assert cells["Peak memory, MB"] == shown
        assert cells["Images per second"] == ("455 (1/2 seeds)" if seed == 0 else "455")


@pytest.mark.parametrize(
    ("train", "test", "hours"),
    [(7200.0, 2400.0, ["1.3", "1.3x"]), (0.0, 2400.0, ["1", "1.0x"]), (0.0, 0.0, ["1", "1.0x"])],
)
def test_the_time_of_a_cpu_is_the_share_of_training_in_that_of_its_processes(
    toy, costly, train, test, hours
):
    plan, records = costly
    measured = {"cpu_seconds": 1440.0, "train_seconds": train, "test_seconds": test}
    for seed in (0, 1):
        key = toy.key_of(plan, "cRT", seed)
        cost = records[key].record.cost.model_copy(update=measured)
        records |= toy.stored(records[key].record.model_copy(update={"cost": cost}))
    row = texts(made(COST_TABLE, boards(plan, records)[0], toy.methods, records))["cRT"]
    assert row[:2] == hours


def test_the_time_of_gpus_is_that_of_all_devices(toy, costly):
    plan, records = costly
    for seed in (0, 1):
        key = toy.key_of(plan, "cRT", seed)
        cost = records[key].record.cost.model_copy(update={"memory": "gpu", "devices": 2})
        records |= toy.stored(records[key].record.model_copy(update={"cost": cost}))
    assert texts(made(COST_TABLE, boards(plan, records)[0], toy.methods, records))["cRT"][0] == "2"


def test_recipes_stand_side_by_side(toy):
    one, two = (
        toy.plan(
            [SOFTMAX, OTHER], recipe=toy.recipe(name=name, batch_size=b), splits=("longtailed",)
        )
        for name, b in (("short", 32), ("long", 64))
    )
    both = Plan(one.grid, (*one.rows, *two.rows), one.jobs | two.jobs)
    found = [toy.record(job, HITS) for job in one.jobs.values() if job.label == "Softmax"]
    found += [toy.record(job, (40,) * 6) for job in two.jobs.values()]
    (table,) = recipe_tables(boards(both, toy.stored(*found)))
    assert table.titles == ("Method", "Acc, short", "Acc, long")  # UA and RA need balanced runs
    network, epochs = one.rows[0].recipe.network, one.rows[0].recipe.stage1.epochs
    assert table.title.endswith(f", {network}: recipes side by side (grid {one.grid.name})")
    assert table.caption.endswith(f"short: {epochs} epochs. long: {epochs} epochs.")
    assert texts(table) == {
        "Softmax": ["47.0 ± 0.0", "80.0 ± 0.0"],
        "Other": ["missing", "80.0 ± 0.0"],
    }
    (table,) = recipe_tables(boards(both, toy.stored(*found[:2])))
    assert "long" not in table.caption  # nor has it a column
    assert recipe_tables(boards(one, {})) == []


def test_metric_losses_are_those_of_all_own_jobs(toy):
    plan = toy.plan([SOFTMAX, CRT], splits=("longtailed",))
    steps = {"Softmax": {"intra": (1, 4)}, "cRT": {"intra": (3, 4), "inter": (4, 4)}}
    stored = []
    for job in plan.jobs.values():
        record = toy.record(job, HITS)
        if (job.label, job.seed) != ("cRT", 1):
            active = record.training.model_copy(
                update={"active_steps": steps[job.label], "steps": 4}
            )
            record = record.model_copy(update={"training": active})
        stored.append(record)
    records = toy.stored(*stored)
    table = made(METRIC_LOSSES_TABLE, boards(plan, records)[0], toy.methods, records)
    assert [said(table, row) for row in table.rows] == [
        ["Softmax", "intra", "25.0 ± 0.0"],
        ["cRT", "intra", "75.0 (1/2 seeds)"],
        ["cRT", "inter", "100.0 (1/2 seeds)"],
    ]
    assert len(table.rows[0][2].value.keys) == 2


def test_there_is_no_table_of_metric_losses_without_one(toy):
    plan = toy.plan([SOFTMAX], splits=("longtailed",))
    records = toy.stored(*(toy.record(job, HITS) for job in plan.jobs.values()))
    assert made(METRIC_LOSSES_TABLE, boards(plan, records)[0], toy.methods, records) is None
