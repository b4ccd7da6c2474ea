from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ltbench.config.errors import ConfigError, Location
from ltbench.config.json_schema import Related, model_of
from ltbench.config.validation import validate
from tests.support.errors import problems, problems_of


class Kind(Enum):
    SOFT = "soft"
    HARD = "hard"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate: float = Field(0.1, gt=0, le=1)
    name: str = Field("a", min_length=1, max_length=3, pattern="^[a-z]+$")


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    needed: int = Field(multiple_of=2)
    flag: bool = False
    taps: list[Annotated[float, Field(ge=0)]] = Field([1.0], min_length=1, max_length=3)
    pair: tuple[int, str] = (1, "a")
    inner: Inner = Inner()
    more: tuple[Inner, ...] = ()
    kind: Kind = Kind.SOFT
    choice: Literal["x", 3] = "x"
    scale: float | Literal["auto"] | None = None
    by_name: dict[str, int] = {}
    anything: dict = {}
    widths: list[int] | int = 3


VALUES = [
    {},
    {"needed": 2},
    {"needed": 3, "flag": 1},
    {"needed": 2.5, "taps": []},
    {"needed": 2, "taps": [1, 2, 3, 4]},
    {"needed": 2, "taps": [1, -1, "x"]},
    {"needed": 2, "pair": [1]},
    {"needed": 2, "pair": [1, "b", 3]},
    {"needed": 2, "pair": ["b", 1]},
    {"needed": 2, "inner": {"rate": 0, "name": "A", "more": 1}},
    {"needed": 2, "inner": {"rate": 0.5, "name": "abcd"}},
    {"needed": 2, "inner": []},
    {"needed": 2, "more": [{}, {"rate": 2}, 1]},
    {"needed": 2, "more": [{"rate": 1, "name": "abc"}]},
    {"needed": 2, "kind": "hard", "choice": 3, "scale": "auto"},
    {"needed": 2, "kind": "medium", "choice": 4, "scale": "manual"},
    {"needed": 2, "scale": 1, "by_name": {"a": 1}, "widths": [1, 2]},
    {"needed": 2, "scale": True, "by_name": {"a": 1.5}, "widths": [1, 2.5]},
    {"needed": 2, "by_name": [], "widths": {}, "anything": {"a": [1]}},
    {"needed": None, "unknown": 1},
]


def outcome(model, values):
    """Return the checked values, else where and how they do not fit."""
    try:
        checked = validate(model, values, Location("x"))
    except ConfigError as error:
        return [(problem.path, problem.code) for problem in error.problems]
    return checked.model_dump(mode="json", warnings=False)


@pytest.mark.parametrize("values", VALUES)
def test_a_model_of_a_schema_takes_what_the_model_takes(values):
    again = model_of("Outer", Outer.model_json_schema())
    assert outcome(again, values) == outcome(Outer, values)


class Bounds(BaseModel):
    first: float = Field(0.2, ge=0, le=1)
    last: float = Field(0.7, ge=0, le=1, json_schema_extra={"at_least": "first"})


class Forms(BaseModel):
    form: Literal["softmax", "focal"] = "softmax"
    gamma: float = Field(1.0, json_schema_extra={"only_with": {"form": "focal"}})
    power: float = Field(1.0, json_schema_extra={"only_with": {"form": "focal"}})


class Levels(Related):
    groups: int = Field(2, json_schema_extra={"only_with": {"levels": []}})
    levels: tuple[int, ...] = ()


def test_a_field_has_its_default_where_it_has_no_effect():
    model = model_of("Forms", Forms.model_json_schema())
    for values in ({"gamma": 1.0}, {"form": "focal", "gamma": 2.0}):
        assert outcome(model, values) == Forms(**values).model_dump()
    (problem,) = problems_of(lambda: validate(model, {"gamma": 2.0}, Location("x")))
    assert problem.code == "no-effect"
    assert 'gamma has no effect with form "softmax", only with "focal"' in problem.message
    (problem,) = problems_of(lambda: validate(model, {"gamma": 2.0, "power": 2.0}, Location("x")))
    assert "gamma" in problem.message
    assert "power" in problem.message


def test_a_field_may_need_another_one_to_be_empty():
    model = model_of("Levels", Levels.model_json_schema())
    for each in (model, Levels):
        for values in ({"groups": 3}, {"levels": [1]}):
            validate(each, values, Location("x"))
        found = problems(
            lambda each=each: validate(each, {"groups": 3, "levels": [1]}, Location("x"))
        )
        assert found == [("x", "", "no-effect")]


def test_a_field_is_not_below_the_one_that_its_schema_names():
    model = model_of("Bounds", Bounds.model_json_schema())
    assert outcome(model, {"first": 0.7}) == {"first": 0.7, "last": 0.7}
    with pytest.raises(ConfigError, match=r"last is 0\.1; it has to be at least first, 0\.2"):
        validate(model, {"last": 0.1}, Location("x"))
