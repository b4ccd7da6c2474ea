"""From plain values to typed models, every problem in our own words and at its line."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ltbench.config.errors import (
    ConfigError,
    Path,
    Problem,
    Source,
    did_you_mean,
    raise_all,
    show,
)

ModelT = TypeVar("ModelT", bound=BaseModel)

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
}
"""What a field wants, by pydantic's kind of error."""


def validate(
    model: type[ModelT], value: Any, source: Source, given: Mapping[str, Any] | None = None
) -> ModelT:
    """Return a model of plain JSON values, strictly: no text is taken for a number, nor a boolean.

    Args:
        model: what to make.
        value: parsed YAML.
        source: where the value was written.
        given: fields that are not the file's to set (its name); there they are unknown keys.

    Raises:
        ConfigError: naming everything that is wrong.
    """
    given = given or {}
    merged = {**value, **given} if isinstance(value, dict) else value
    problems = [
        _unknown_key(model, (name,), source, given)
        for name in given
        if isinstance(value, dict) and name in value
    ]
    try:
        # JSON is the one strict mode in which a list may become a tuple.
        result = model.model_validate_json(json.dumps(merged), strict=True)
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        problems += [_problem(model, e, source, given) for e in errors if not _echo(e)]
        raise ConfigError(sorted(problems, key=lambda p: p.line or 0)) from None
    raise_all(problems)
    return result


def _echo(error: ErrorDetails) -> bool:
    """Whether a list is called too short only because its items were refused."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _problem(
    model: type[BaseModel], error: ErrorDetails, source: Source, given: Iterable[str]
) -> Problem:
    kind, where, context = error["type"], error["loc"], error.get("ctx", {})
    here = source.at(*where)
    got = show(error["input"])
    match kind:
        case "missing":
            return here.problem("is missing")
        case "extra_forbidden":
            return _unknown_key(model, where, source, given)
        case "value_error":
            return here.problem(str(context["error"]))
        case "too_short":
            return here.problem(f"needs {context['min_length']} or more, got {len(error['input'])}")
        case "literal_error":
            choices = context["expected"].replace("'", '"')
            return here.problem(f"expected {choices}, got {got}")
        case _ if kind in EXPECTED:
            return here.problem(f"expected {EXPECTED[kind].format(**context)}, got {got}")
        case _:
            return here.problem(f"{error['msg'][:1].lower()}{error['msg'][1:]}, got {got}")


def _unknown_key(
    model: type[BaseModel], where: Path, source: Source, given: Iterable[str]
) -> Problem:
    owner: type[BaseModel] | None = model
    for part in where[:-1]:
        if owner is not None and isinstance(part, str):
            owner = _model_in(owner.model_fields[part].annotation)
    fields = set() if owner is None else set(owner.model_fields)
    if len(where) == 1:
        fields -= set(given)
    return source.at(*where).problem("unknown key", did_you_mean(str(where[-1]), fields))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation such as `tuple[Variant, ...]` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := _model_in(a))), None)
