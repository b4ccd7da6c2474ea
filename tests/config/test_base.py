"""What of a model is part of a key."""

import pytest
from pydantic import Field, ValidationError

from ltbench.config.base import LATER, NOTE, PRINTABLE, Model, Title
from ltbench.config.dataset import DatasetSpec
from ltbench.config.grid import Grid
from ltbench.config.job import Job
from ltbench.config.recipe import Recipe


class Inner(Model):
    kept: int = 1
    later: str = Field("old", json_schema_extra=LATER)


class Titled(Model):
    title: Title


class Outer(Model):
    note: str = Field("words", json_schema_extra=NOTE)
    inner: Inner = Inner()
    later: int | None = Field(None, json_schema_extra=LATER)


@pytest.mark.parametrize("title", ["", " ", "a\0b", "\x1b[31mred", "two\nlines", "right\u202eleft"])
def test_a_title_is_printable(title):
    with pytest.raises(ValidationError):
        Titled(title=title)


def test_titles_may_have_any_script():
    assert Titled(title="Bäume ≥ 1, \u732b").title == "Bäume ≥ 1, \u732b"


@pytest.mark.parametrize("model", [Grid, DatasetSpec, Recipe, Job])
def test_what_is_printed_is_a_title(model):
    name = "label" if model is Job else "title"
    assert PRINTABLE in model.model_fields[name].metadata


def test_a_note_never_counts():
    assert Outer(note="a").identity() == Outer(note="b").identity()


def test_a_later_field_counts_once_it_differs_from_what_was_done_before():
    assert Outer().identity() == {"inner": {"kept": 1}}
    assert Outer(later=3, inner=Inner(later="new")).identity() == {
        "inner": {"kept": 1, "later": "new"},
        "later": 3,
    }
