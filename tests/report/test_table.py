"""The builder of tables, on specs of its own."""

from fractions import Fraction

import pytest

from ltbench.analysis.result_set import Estimate
from ltbench.report.table import (
    HOURS,
    P_VALUE,
    PERCENT,
    POINTS,
    PRINTED_PERCENT,
    Cell,
    Column,
    TableSpec,
    build,
    cell_text,
    ranked,
)


def value(mean, state="complete", **more):
    return Estimate(None if mean is None else Fraction(mean), n=1, planned=1, state=state, **more)


def spec(*columns, rows=(0, 1, 2), **more):
    return TableSpec("t", lambda _: "T", lambda _: "C.", lambda _: columns, lambda _: rows, **more)


def numbers(title, *cells, **more):
    return ranked(title, cells.__getitem__, **more)


NAME = Column("Name", str, names=True)


def ranks(table):
    return [[cell.rank for cell in row] for row in table.rows]


def test_empty_columns_are_dropped_with_captions_and_notes():
    absent = value(None, "not available", reason="why")
    lost = numbers("Lost", absent, None, "", caption="Not said.")
    kept = numbers("Kept", absent, None, value(1), caption="Said.")
    table = spec(NAME, lost, kept, numbers("Missing", *[value(None, "missing")] * 3)).build(None)
    assert table.titles == ("Name", "Kept")
    assert (table.caption, table.notes) == ("C. Said.", ("why",))


def test_a_constant_text_may_stand_in_the_caption():
    def table(*texts):
        where = Column("Where", texts.__getitem__, if_constant="All on {}.")
        return spec(NAME, numbers("Acc", 1, 2, 3), where).build(None)

    assert table("a", None, "a").titles == ("Name", "Acc")
    assert table("a", None, "a").caption == "C. All on a."
    assert table("a", None, "b").titles == ("Name", "Acc", "Where")
    assert table("a", None, "b").caption == "C."


def test_there_is_no_table_without_rows_or_with_names_alone():
    assert build([spec(NAME, rows=()), spec(NAME, numbers("A", None, None, None))], None) == []


def test_an_empty_column_may_be_kept():
    column = Column("Acc", lambda _: value(None, "missing"), PERCENT, always=True)
    assert spec(NAME, column).build(None).titles == ("Name", "Acc")


def test_best_and_second_within_columns():
    most = numbers("Most", value(1), value(3), value(2))
    least = numbers("Least", value(1), value(3), value(2), best="lowest")
    plain = Column("Plain", lambda row: value(row), PERCENT, "highest")
    assert ranks(spec(NAME, most, least, plain).build(None)) == [
        *([0, 0, 1, 0], [0, 1, 0, 0], [0, 2, 2, 0])
    ]


def test_exact_numbers_compare_too_and_what_prints_alike_ties():
    exact = numbers("A", Fraction("1.01"), Fraction("1.04"), Fraction(0))
    assert ranks(spec(NAME, exact).build(None)) == [[0, 1], [0, 1], [0, 0]]


def test_along_rows_and_of_compared_rows_alone():
    columns = (NAME, numbers("A", value(1), value(2), value(3)), numbers("B", *[value(2)] * 3))
    found = spec(*columns, along="rows", compared=lambda row: row < 2).build(None)
    assert ranks(found) == [[0, 2, 1], [0, 1, 1], [0, 0, 0]]


def test_incomplete_or_single_numbers_are_not_marked():
    assert ranks(spec(NAME, numbers("A", value(9), value(1, "partial"), None)).build(None)) == [
        *([0, 0], [0, 0], [0, 0])
    ]


def test_notes_are_numbered_in_the_order_of_their_first_use():
    cells = (Cell(1, notes=("b", "a")), Cell(2, notes=("a",)), Cell(3, notes=("c", "b")))
    table = spec(NAME, numbers("A", *cells)).build(None)
    assert table.notes == ("b", "a", "c")
    assert [table.marks(row[1]) for row in table.rows] == [(1, 2), (2,), (1, 3)]


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (PERCENT, "-0.04", "0.0"),
        (POINTS, "0.04", "0.0"),
        (POINTS, "2", "+2.0"),
        (POINTS, "-2", "-2.0"),
        (HOURS, "0.08623", "0.0862"),
        (HOURS, "1234.5", "1,234"),
        (P_VALUE, "0.00099", "< 0.001"),
        (P_VALUE, "0.001", "0.001"),
        (PRINTED_PERCENT, "42.47", "42.47"),
        (PRINTED_PERCENT, "42", "42.0"),
    ],
)
def test_kinds_of_numbers(kind, number, text):
    assert cell_text(Cell(Fraction(number)), Column("A", kind=kind)) == text


def test_a_difference_has_a_sign_and_its_interval_has_none():
    gap = value("2", interval=(Fraction(-1), Fraction(5)))
    assert cell_text(Cell(gap), Column("A", kind=POINTS)) == "+2.0 (-1.0 to 5.0)"
