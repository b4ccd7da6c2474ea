from fractions import Fraction

from ltbench.analysis.board import boards
from ltbench.report.paired_tables import p_text, paired_table
from ltbench.report.render import csv_text, markdown

HITS = (45, 43, 30, 20, 5, 1)
SOFTMAX = {"label": "Softmax", "method": "softmax"}
BALANCED = {"label": "BS", "method": "balanced_softmax"}
TUNED = {"label": "Tuned", "method": "balanced_softmax", "hyper": {"tau": 2}}
LATER = {"label": "Later", "method": "later"}


def board_of(toy, variants, hits):
    """Return a board whose variants got the given hits, of 50, in each class."""
    plan = toy.plan(variants, splits=("longtailed",))
    made = [
        toy.record(job, tuple(h + job.seed for h in hits[job.label]))
        for job in plan.jobs.values()
        if job.label in hits
    ]
    records = toy.stored(*made)
    return boards(plan, records)[0], records


def texts(table):
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_each_variant_stands_beside_both_baselines(toy):
    hits = {"Softmax": HITS, "BS": (40,) * 6, "Tuned": (41,) * 6}
    board, records = board_of(toy, [SOFTMAX, BALANCED, TUNED, LATER], hits)
    table = paired_table(board, records)
    assert table.columns == (
        *("Method", "Over Softmax", "Better than Softmax?", "Over BS", "Better than BS?"),
    )
    rows = texts(table)
    assert rows["Softmax"][:2] == ["\N{EN DASH}", "\N{EN DASH}"]
    assert rows["Softmax"][3] == "no, worse, p < 0.001"
    assert rows["BS"][0].startswith("+32.0 (")
    assert rows["BS"][1] == "yes, p < 0.001"
    assert rows["Tuned"][2].startswith("+2.0 (")
    assert rows["Later"] == ["missing", "\N{EN DASH}"] * 2


def test_a_difference_can_be_traced_to_both_variants_records(toy):
    board, records = board_of(toy, [SOFTMAX, LATER], {"Softmax": HITS, "Later": (40,) * 6})
    table = paired_table(board, records)
    value = table.rows[1][1].value
    assert value.keys == (*board.entries[1].keys, *board.entries[0].keys)
    assert (value.n, value.planned, value.state) == (2, 2, "complete")
    assert " ".join(value.keys) in csv_text([("b", table)])
    assert "+32.0" in markdown(table)


def test_other_test_images_are_said_and_not_compared(toy):
    board, records = board_of(toy, [SOFTMAX, LATER], {"Softmax": HITS, "Later": (40,) * 6})
    for key in board.entries[1].keys:
        moved = records[key].record.split.model_copy(update={"test_hash": "d" * 64})
        changed = records[key].record.model_copy(update={"split": moved})
        records |= toy.stored(changed)
    assert texts(paired_table(board, records))["Later"][0] == "not comparable"


def test_no_baseline_no_table(toy):
    assert paired_table(*board_of(toy, [TUNED, LATER], {})) is None


def test_p_values_for_people():
    assert [p_text(Fraction(p)) for p in ("0", "0.00099", "0.001", "0.0499", "1")] == [
        *("p < 0.001", "p < 0.001", "p = 0.001", "p = 0.050", "p = 1.000")
    ]
