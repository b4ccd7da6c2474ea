import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbench.analysis.result_set import boards
from ltbench.core.open_set import THRESHOLDS, f_measure
from ltbench.report.board_tables import OPEN_SET_TABLE
from ltbench.runs.record import OpenSetTest, Record
from tests.support.tables import made

HITS = (45, 40, 30, 20, 5, 1)
SOFTMAX = {"label": "Softmax", "method": "softmax"}
PLUGIN = {"label": "Mine", "method": "mine"}


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, None]), st.sampled_from([0, 1, None]))))
def test_f_measure_image_by_image(images):
    """Classes 0 and 1, 2 for an image of none of them; None for a rejected one."""
    own = [(label, answer) for label, answer in images if label in (0, 1)]
    others = [answer for label, answer in images if label == 2]
    positive = sum(label == answer for label, answer in own)
    false_positive = sum(label != answer for label, answer in own)
    false_negative = sum(answer is not None for answer in others)
    if not own:
        return
    value = f_measure(positive, len(own), false_negative)
    precision = positive / (positive + false_positive)
    recall = positive / (positive + false_negative) if positive + false_negative else 0
    both = precision + recall
    assert value == pytest.approx(2 * precision * recall / both if both else 0)


def test_worked_examples():
    assert f_measure(80, 100, 0) == pytest.approx(2 * 0.8 / 1.8)
    assert f_measure(60, 100, 20) == pytest.approx(2 * 0.6 * 0.75 / 1.35)
    assert f_measure(0, 100, 0) == 0


def open_set(right, dataset="others", fingerprint="f" * 64):
    return OpenSetTest(
        dataset=dataset,
        fingerprint=fingerprint,
        images=200,
        thresholds=THRESHOLDS,
        right=right,
        mistaken=(200, 100, 50, 20, 0),
    )


@pytest.fixture
def plan(toy):
    return toy.plan(
        [SOFTMAX, PLUGIN], dataset=toy.dataset(open_set="others"), splits=("longtailed",)
    )


def record(toy, plan, label, seed, test):
    return toy.record(plan.jobs[toy.key_of(plan, label, seed)], HITS, open_set=test)


def test_a_table_where_records_have_one(toy, plan):
    records = toy.stored(
        record(toy, plan, "Softmax", 0, open_set((141, 120, 100, 50, 10))),
        record(toy, plan, "Softmax", 1, open_set((141, 120, 100, 50, 10))),
        record(toy, plan, "Mine", 0, open_set((141, 130, 100, 50, 10))),
        record(toy, plan, "Mine", 1, None),
    )
    [board] = boards(plan, records)
    table = made(OPEN_SET_TABLE, board, toy.methods, records)
    assert table.titles == ("Method", "F at 0.1", "F at 0.3", "F at 0.5", "F at 0.7", "F at 0.9")
    softmax, mine = table.rows
    assert softmax[2].value.mean == pytest.approx(100 * f_measure(120, 300, 100))
    assert (softmax[2].value.n, softmax[2].value.state) == (2, "complete")
    assert mine[2].value.mean == pytest.approx(100 * f_measure(130, 300, 100))
    assert (mine[2].value.n, mine[2].value.state) == (1, "partial")


def test_runs_on_other_images_of_the_same_name_are_never_averaged(toy, plan):
    right = (141, 120, 100, 50, 10)
    records = toy.stored(
        record(toy, plan, "Softmax", 0, open_set(right)),
        record(toy, plan, "Softmax", 1, open_set((9, 8, 7, 6, 5), fingerprint="e" * 64)),
        record(toy, plan, "Mine", 0, open_set(right)),
    )
    [board] = boards(plan, records)
    softmax, mine = made(OPEN_SET_TABLE, board, toy.methods, records).rows
    assert softmax[2].value.mean == mine[2].value.mean == 100 * f_measure(120, 300, 100)
    assert (softmax[2].value.n, softmax[2].value.state) == (1, "partial")


def test_no_table_without_records_of_this_open_set(toy, plan):
    for test in (None, open_set((1,) * 5, dataset="former")):
        records = toy.stored(record(toy, plan, "Softmax", 0, test))
        [board] = boards(plan, records)
        assert made(OPEN_SET_TABLE, board, toy.methods, records) is None


def test_older_records_of_a_job_repeat_newer_ones(toy, plan):
    older, newer, other = (
        record(toy, plan, "Softmax", 0, test)
        for test in (None, open_set((5, 4, 3, 2, 1)), open_set((5, 4, 3, 2, 0)))
    )
    assert older.repeats(newer)
    assert not newer.repeats(other)
    assert Record.model_validate_json(newer.model_dump_json(), strict=True) == newer


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"right": (1, 2)}, "one count of each kind a threshold"),
        ({"mistaken": (201, 0, 0, 0, 0)}, "more than all 200 images"),
        ({"mistaken": (-1, 0, 0, 0, 0)}, "greater than or equal to 0"),
    ],
)
def test_invalid_counts_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        OpenSetTest(**open_set((0,) * 5).model_dump() | values)
