"""What of a model is part of a key."""

from pydantic import Field

from ltbench.config.base import LATER, NOTE, Model


class Inner(Model):
    kept: int = 1
    later: str = Field("old", json_schema_extra=LATER)


class Outer(Model):
    note: str = Field("words", json_schema_extra=NOTE)
    inner: Inner = Inner()
    later: int | None = Field(None, json_schema_extra=LATER)


def test_a_note_never_counts():
    assert Outer(note="a").identity() == Outer(note="b").identity()


def test_a_later_field_counts_once_it_differs_from_what_was_done_before():
    assert Outer().identity() == {"inner": {"kept": 1}}
    assert Outer(later=3, inner=Inner(later="new")).identity() == {
        "inner": {"kept": 1, "later": "new"},
        "later": 3,
    }
