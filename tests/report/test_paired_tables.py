from fractions import Fraction

import pytest

from ltbench.analysis.pairwise import head_to_heads
from ltbench.analysis.result_set import EMPTY, boards
from ltbench.report.formats import csv_text, markdown
from ltbench.report.paired_tables import BY_CLASS_TABLE, PAIRED_TABLE, Match, p_text
from tests.support.made_records import with_confusion
from tests.support.tables import made, texts

HITS = (45, 43, 30, 20, 5, 1)
SOFTMAX = {"label": "Softmax", "method": "softmax"}
BALANCED = {"label": "BS", "method": "balanced_softmax"}
TUNED = {"label": "Tuned", "method": "balanced_softmax", "hparams": {"tau": 2}}
LATER = {"label": "Later", "method": "later"}


def board_of(toy, variants, hits):
    """Return a board whose variants have the given hits per class, of 50."""
    plan = toy.plan(variants, splits=("longtailed",))
    found = [
        toy.record(job, tuple(h + job.seed for h in hits[job.label]))
        for job in plan.jobs.values()
        if job.label in hits
    ]
    records = toy.stored(*found)
    return boards(plan, records)[0], records


def test_each_variant_is_compared_with_both_baselines(toy):
    hits = {"Softmax": HITS, "BS": (40,) * 6, "Tuned": (41,) * 6}
    board, records = board_of(toy, [SOFTMAX, BALANCED, TUNED, LATER], hits)
    table = made(PAIRED_TABLE, board, toy.methods, records)
    assert table.titles == (
        *("Method", "Over Softmax", "Better than Softmax?", "p over Softmax"),
        *("Over BS", "Better than BS?", "p over BS"),
    )
    rows = texts(table)
    assert rows["Softmax"][:3] == [EMPTY] * 3
    assert rows["Softmax"][4:] == ["worse", "< 0.001"]
    assert rows["BS"][0].startswith("+32.0 (")
    assert rows["BS"][1:3] == ["better", "< 0.001"]
    assert rows["Tuned"][3].startswith("+2.0 (")
    assert rows["Later"] == ["missing", EMPTY, EMPTY] * 2


def test_a_difference_can_be_traced_to_both_variants_records(toy):
    board, records = board_of(toy, [SOFTMAX, LATER], {"Softmax": HITS, "Later": (40,) * 6})
    table = made(PAIRED_TABLE, board, toy.methods, records)
    value = table.rows[1][1].value
    assert value.keys == (*board.entries[1].keys, *board.entries[0].keys)
    assert (value.n, value.planned, value.state) == (2, 2, "complete")
    assert " ".join(value.keys) in csv_text([("b", table)])
    assert "+32.0" in markdown(table)


def test_other_test_images_are_not_comparable(toy):
    board, records = board_of(toy, [SOFTMAX, LATER], {"Softmax": HITS, "Later": (40,) * 6})
    for key in board.entries[1].keys:
        moved = records[key].record.split.model_copy(update={"test_hash": "d" * 64})
        changed = records[key].record.model_copy(update={"split": moved})
        records |= toy.stored(changed)
    assert texts(made(PAIRED_TABLE, board, toy.methods, records))["Later"][0] == "not comparable"


def test_no_baseline_no_table(toy):
    board, records = board_of(toy, [TUNED, LATER], {})
    assert made(PAIRED_TABLE, board, toy.methods, records) is None


def test_p_values_for_people():
    assert [p_text(Fraction(p)) for p in ("0", "0.00099", "0.001", "0.0499", "1")] == [
        *("p < 0.001", "p < 0.001", "p = 0.001", "p = 0.050", "p = 1.000")
    ]


@pytest.mark.parametrize("names", [("ant", "bee", "cow", "dog", "eel", "fox"), None])
def test_classes_of_a_comparison_have_their_names(toy, names):
    """Older records have none: their classes are numbers."""
    plan = toy.plan([SOFTMAX, LATER], splits=("longtailed",))
    hits = {"Softmax": HITS, "Later": (45, 43, 30, 20, 25, 11)}
    found = [with_confusion(toy.record(j, hits[j.label]), names) for j in plan.jobs.values()]
    rows = [(plan, row) for row in plan.rows]
    (match,) = head_to_heads(rows, toy.stored(*found), ("Later", "Softmax"))
    table = BY_CLASS_TABLE.build(Match(match, match.compare(), 3))
    classes = [row[0].text for row in table.rows]
    assert classes == (["eel", "fox", "ant"] if names else ["4", "5", "0"])
    assert [row[2].number for row in table.rows] == [10, 5, 200]
