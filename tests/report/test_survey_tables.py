"""The survey's tables with our numbers: its rows, its order, and reasons of empty cells."""

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.published import published_numbers
from ltbench.analysis.result_set import EMPTY, boards
from ltbench.report.survey_tables import CLASSIFIERS, LOSSES, ROWS, survey_tables
from tests.support.tables import column

LONG_NAMES = ("metric", "method")
SOFTMAX = {"label": "Softmax", "method": "softmax"}
FOCAL = {"label": "Mine", "method": "focal"}
NCM = {"label": "Means", "method": "ncm", "init_from": "Softmax"}


def printed(table):
    """Return metrics and methods of a table of the survey, in its order."""
    numbers = [n for n in published_numbers() if n.source.startswith(f"Survey v1 {table} ")]
    return [list(dict.fromkeys(getattr(n, name) for n in numbers)) for name in LONG_NAMES]


def made(*plans, records):
    """Return the tables of plans by number."""
    tables = survey_tables(board for plan in plans for board in boards(plan, records))
    return {table.name[-1]: table for _, table in tables}


def test_rows_are_those_that_the_survey_prints_in_its_order():
    rows = [name for names in ROWS.values() for name in names]
    assert printed("Table 5") == [["acc", "ua", "ra"], rows]
    assert printed("Table 6") == [["many", "medium", "few"], rows]
    decoupled = [f"{loss} [{classifier}]" for loss in LOSSES for classifier in CLASSIFIERS]
    assert printed("Table 7") == [["acc", "many", "medium", "few"], decoupled]


def test_numbers_are_ours_alone_and_empty_cells_have_their_reason(toy):
    plan = toy.plan([SOFTMAX, FOCAL], seeds=(0,), splits=("longtailed",))
    done = toy.record(plan.jobs[toy.key_of(plan, "Softmax")], (30, 25, 20, 15, 10, 5))
    tables = made(plan, records=toy.stored(done))
    assert set(tables) == {"5", "6"}
    rows = [name for names in ROWS.values() for name in names]
    assert [cell.text for cell in column(tables["5"], "Method")] == rows
    cells = dict(zip(rows, column(tables["5"], "Acc"), strict=True))
    assert cells["Softmax"].number == 35
    assert cells["Focal"].value.state == "missing"
    assert [name for name in rows if cells[name].text == EMPTY] == rows[1:2] + rows[3:]
    assert all(cell.footnotes for name, cell in cells.items() if name != "Softmax")
    assert all(cell.footnotes for cell in column(tables["5"], "RA"))
    groups = [METRICS[key].title for key in ("many", "medium", "few")]
    assert list(tables["6"].titles[2:]) == groups


def test_classifiers_stand_beside_the_loss_of_their_network(toy):
    plan = toy.plan([SOFTMAX, NCM], seeds=(0,), splits=("longtailed",))
    hits = {"Softmax": (10,) * 6, "Means": (20,) * 6}
    records = toy.stored(*(toy.record(job, hits[job.label]) for job in plan.jobs.values()))
    table = made(plan, records=records)["7"]
    assert [row[1].text for row in table.rows] == [*LOSSES] * 4
    assert [row[0].text for row in table.rows[::4]] == ["All", "Many", "Medium", "Few"]
    assert [cell.number for cell in table.rows[0][2:]] == [20, 40, None, None]
    assert all(cell.footnotes for cell in table.rows[0][4:])


def test_grids_fill_the_same_table_and_recipes_stand_side_by_side(toy):
    first = toy.plan([SOFTMAX], seeds=(0,), splits=("longtailed",))
    second = toy.plan([SOFTMAX, FOCAL], seeds=(0, 1), splits=("longtailed",), name="more_seeds")
    long = toy.recipe(name="long")
    third = toy.plan([FOCAL], seeds=(0,), splits=("longtailed",), recipe=long, name="longer")
    jobs = {key: job for plan in (first, second, third) for key, job in plan.jobs.items()}
    records = toy.stored(*(toy.record(job, (10 + job.seed,) * 6) for job in jobs.values()))
    table = made(first, second, third, records=records)["5"]
    accuracies = [title for title in table.titles if title.startswith("Acc")]
    assert accuracies == ["Acc, short", "Acc, long"]
    softmax, _, focal = (row for row in table.rows[:3])
    assert (softmax[2].value.n, softmax[2].number) == (2, 21)
    assert (focal[2].value.n, focal[5].value.n) == (2, 1)
    assert softmax[5].text == EMPTY


def test_recipes_stand_in_the_order_of_their_epochs(toy):
    stage = toy.recipe().stage1
    longer = toy.recipe(name="longer", stage1=stage.model_copy(update={"epochs": stage.epochs + 1}))
    plans = [
        toy.plan([SOFTMAX], splits=("longtailed",), recipe=recipe, name=recipe.name)
        for recipe in (longer, toy.recipe())
    ]
    table = made(*plans, records={})["5"]
    assert [title for title in table.titles if title.startswith("Acc")] == [
        "Acc, short",
        "Acc, longer",
    ]
    assert table.caption.index("short: ") < table.caption.index("longer: ")


def test_there_is_no_table_without_a_row(toy):
    own = [SOFTMAX | {"label": "Own", "method": "mine"}]
    plan = toy.plan(own, splits=("longtailed",))
    assert made(plan, records={}) == {}
