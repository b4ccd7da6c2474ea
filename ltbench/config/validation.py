"""Validate plain values; locate every problem and say it plainly."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ltbench.config.base import FORMS, RefusedError
from ltbench.config.codes import Code
from ltbench.config.errors import (
    ConfigError,
    KeyPath,
    Location,
    Problem,
    did_you_mean,
    format_value,
    raise_all,
)

ModelT = TypeVar("ModelT", bound=BaseModel)

EXPECTED: dict[str, tuple[Code, str]] = {
    "string_type": ("wrong-type", "text"),
    "int_type": ("wrong-type", "a whole number"),
    "float_type": ("wrong-type", "a number"),
    "bool_type": ("wrong-type", "true or false"),
    "none_required": ("wrong-type", "nothing"),
    "tuple_type": ("wrong-type", "a list"),
    "list_type": ("wrong-type", "a list"),
    "dict_type": ("wrong-type", "a mapping"),
    "model_type": ("wrong-type", "a mapping"),
    "finite_number": ("out-of-range", "a finite number"),
    "greater_than": ("out-of-range", "more than {gt:g}"),
    "greater_than_equal": ("out-of-range", "at least {ge:g}"),
    "less_than": ("out-of-range", "less than {lt:g}"),
    "less_than_equal": ("out-of-range", "at most {le:g}"),
    "multiple_of": ("out-of-range", "a multiple of {multiple_of:g}"),
    "string_too_short": ("out-of-range", "text of at least {min_length} characters"),
    "string_too_long": ("out-of-range", "text of at most {max_length} characters"),
    "string_pattern_mismatch": ("malformed", "{form}"),
    "literal_error": ("unknown-value", "{expected}"),
    "enum": ("unknown-value", "{expected}"),
}
"""The code of pydantic's kinds of error, and what the field wants."""

LARGEST_INTEGER = 2**63 - 1
"""Largest whole number, in size, that torch and file formats can hold."""


def validate(
    model: type[ModelT], value: Any, location: Location, given: Mapping[str, Any] | None = None
) -> ModelT:
    """Return a model of plain JSON values, validated strictly.

    Text and booleans are not converted to numbers.

    Args:
        model: what to make.
        value: parsed YAML.
        location: where the value was written.
        given: fields that are not the file's to set (its name); there they are unknown keys.

    Raises:
        ConfigError: naming everything that is wrong.
    """
    given = given or {}
    merged = {**value, **given} if isinstance(value, dict) else value
    problems = [
        _unknown_key(model, (name,), location, given)
        for name in given
        if isinstance(value, dict) and name in value
    ]
    try:
        # JSON is the one strict mode in which a list may become a tuple.
        result = model.model_validate_json(json.dumps(merged), strict=True)
    except ValidationError as failure:
        problems += problems_of(model, failure, merged, location, given)
        raise ConfigError(sorted(problems, key=lambda p: p.line or 0)) from None
    raise_all([*problems, *_large_problems(value, location)])
    return result


def problems_of(
    model: type[BaseModel],
    failure: ValidationError,
    value: Any,
    location: Location,
    given: Iterable[str] = (),
) -> list[Problem]:
    """Return the problems of a failed validation; other arguments as of `validate`."""
    errors = [error for error in failure.errors(include_url=False) if not _echo(error)]
    found = [
        problem
        for path, alike in _by_path(errors, value)
        for problem in _problems(model, path, alike, location, given)
    ]
    large = _large_problems(value, location)
    named = {(problem.file, problem.path) for problem in large}
    return large + [each for each in found if (each.file, each.path) not in named]


def _large_problems(value: Any, location: Location) -> list[Problem]:
    """Return the problems of whole numbers beyond `LARGEST_INTEGER`."""
    message = f"expected at most {LARGEST_INTEGER} in size"
    return [location.at(*path).problem("out-of-range", message) for path in _too_large(value)]


def _too_large(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the paths of whole numbers beyond `LARGEST_INTEGER`."""
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            yield path
    elif isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _too_large(inner, (*path, key))


def _echo(error: ErrorDetails) -> bool:
    """Return whether a list is only too short without its invalid items."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _by_path(
    errors: Iterable[ErrorDetails], value: Any
) -> Iterable[tuple[KeyPath, list[ErrorDetails]]]:
    """Return errors by the path of their value.

    A value that fits no choice of a union has an error for each: of these the ones furthest inside
    count, as that choice was probably meant.
    """
    found: dict[KeyPath, list[ErrorDetails]] = {}
    depth: dict[KeyPath, int] = {}
    placed = [(*_path(error, value), error) for error in errors]
    for path, union, _ in placed:
        if union is not None:
            depth[union] = max(depth.get(union, 0), len(path))
    for path, union, error in placed:
        if union is None or len(path) == depth[union]:
            found.setdefault(path, []).append(error)
    return found.items()


def _path(error: ErrorDetails, value: Any) -> tuple[KeyPath, KeyPath | None]:
    """Return the path of an error, and that of its outermost union.

    Pydantic's own path names the choice of a union, too, and says that a key is one.
    """
    path: KeyPath = ()
    union: KeyPath | None = None
    for place, part in enumerate(error["loc"]):
        inside = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(inside, dict) and part in inside:
            value = inside[part]
        elif not (error["type"] == "missing" and place == len(error["loc"]) - 1):
            union = path if union is None else union
            continue
        path = (*path, part)
    return path, union


def _problems(
    model: type[BaseModel],
    path: KeyPath,
    errors: Sequence[ErrorDetails],
    location: Location,
    given: Iterable[str],
) -> list[Problem]:
    """Return the problems of a value, or of its fields."""
    refusal = errors[0].get("ctx", {}).get("error")
    if isinstance(refusal, RefusedError):
        here = location.at(*path)
        return [here.at(field).problem(code, text) for field, code, text in refusal.fields]
    return [_problem(model, path, errors, location, given)]


def _problem(
    model: type[BaseModel],
    path: KeyPath,
    errors: Sequence[ErrorDetails],
    location: Location,
    given: Iterable[str],
) -> Problem:
    """Return the problem of a value with one or more errors.

    More than one are those of the choices of a union.
    """
    error, here = errors[0], location.at(*path)
    kind, context = error["type"], error.get("ctx", {})
    got = format_value(error["input"])
    if path == ("name",) and "name" in given:  # that of the file
        message = f"rename the file: expected {_wanted(error)}, got {got}"
        return location.problem("malformed", message)
    match kind:
        case "missing":
            return here.problem("missing-key", "is missing")
        case "extra_forbidden":
            return _unknown_key(model, path, location, given)
        case "value_error":
            return here.problem("conflict", str(context["error"]))
        case "refusal":
            return here.problem(context["code"], context["message"])
        case "too_short":
            message = f"needs {context['min_length']} or more, got {len(error['input'])}"
            return here.problem("out-of-range", message)
        case "too_long":
            message = f"needs {context['max_length']} or fewer, got {len(error['input'])}"
            return here.problem("out-of-range", message)
        case _ if wanted := [words for e in errors if (words := _wanted(e))]:
            code = EXPECTED[kind][0] if kind in EXPECTED else "wrong-type"
            choices = " or ".join(dict.fromkeys(wanted))
            return here.problem(code, f"expected {choices}, got {got}")
        case _:
            message = f"{error['msg'][:1].lower()}{error['msg'][1:]}, got {got}"
            return here.problem("wrong-type", message)


def _wanted(error: ErrorDetails) -> str | None:
    """Return the expected value of an error, if its kind has one."""
    if error["type"] not in EXPECTED:
        return None
    context = error.get("ctx", {})
    if "expected" in context:
        context = {"expected": context["expected"].replace("'", '"')}
    if "pattern" in context:
        pattern = context["pattern"]
        context = {"form": FORMS.get(pattern, f"text of the form {pattern}")}
    return EXPECTED[error["type"]][1].format(**context)


def _unknown_key(
    model: type[BaseModel], where: KeyPath, location: Location, given: Iterable[str]
) -> Problem:
    owner: type[BaseModel] | None = model
    for part in where[:-1]:
        if owner is not None and part in owner.model_fields:
            owner = _model_in(owner.model_fields[str(part)].annotation)
    fields = set() if owner is None else set(owner.model_fields)
    if len(where) == 1:
        fields -= set(given)
    suggestion = did_you_mean(str(where[-1]), fields)
    return location.at(*where).problem("unknown-key", "unknown key", suggestion)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as `tuple[Variant, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := _model_in(a))), None)
