"""Base of the configuration models, and what identifies them in keys.

Models are frozen and strict, and forbid unknown keys. A field marked `NOTE` describes or locates;
it cannot change a number and so is left out of the job key (`identity`). A field marked `LATER`
came after records were published: its default is what they did, and is left out, so that their keys
still hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, to_json

from ltbench.config.codes import Code
from ltbench.config.keys import canonical

NAME, HEX40, HEX64 = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", r"^[0-9a-f]{40}$", r"^[0-9a-f]{64}$"
FORMS = {
    NAME: "letters, digits and _ . + -, a letter or digit first",
    HEX40: "40 hexadecimal digits, in lower case",
    HEX64: "64 hexadecimal digits, in lower case",
}
"""Patterns in words, for messages."""

Name = Annotated[str, Field(pattern=NAME, max_length=80)]
NOTE: dict[str, Any] = {"note": True}
LATER: dict[str, Any] = {"later": True}
"""Marks of fields, see above."""


def one_or_many(value: Any) -> Any:
    """Return a tuple of a list or of a lone value."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _as_tuple(value: Any) -> Any:
    """Return a list as a tuple, which strict models ask for."""
    return tuple(value) if isinstance(value, list) else value


ItemT = TypeVar("ItemT")
Listed = Annotated[
    tuple[ItemT, ...], BeforeValidator(_as_tuple, json_schema_input_type=list[ItemT])
]
"""A list, also within what a validator has made of JSON."""


def refusal(code: Code, message: str) -> PydanticCustomError:
    """Return a validator's error with a code other than `conflict`."""
    return PydanticCustomError("refusal", "{message}", {"code": code, "message": message})


def _printable(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise refusal("malformed", "must be printable, without space around it")
    return value


PRINTABLE = AfterValidator(_printable)
Title = Annotated[str, Field(min_length=1), PRINTABLE]
"""A text of one line that is printed as it is."""

Refused = tuple[str, Code, str]
"""A field that does not go with others, code and message."""


class RefusedError(ValueError):
    """Error of fields that do not go together.

    Attributes:
        fields: all of them.
    """

    def __init__(self, fields: Sequence[Refused]) -> None:
        super().__init__("; ".join(f"{field} {message}" for field, _, message in fields))
        self.fields = fields


def refuse_all(fields: Iterable[Refused]) -> None:
    """Refuse fields from a model's validator, if any."""
    if refused := tuple(fields):
        raise RefusedError(refused)


class Model(BaseModel):
    """Frozen configuration model, built on first use."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def identity(self) -> dict[str, Any]:
        """Return the values that can change a number, as plain JSON."""
        return identity_of(self, self.model_dump(mode="json"))

    def written(self) -> dict[str, Any]:
        """Return plain JSON values, without unset notes and later fields."""
        return _as_given(self, self.model_dump(mode="json"))


def _as_given(model: Model, values: dict[str, Any]) -> dict[str, Any]:
    for name, _, _ in _marked(type(model)):
        if name not in model.model_fields_set:
            del values[name]
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(inner := getattr(model, name), Model):
            _as_given(inner, value)
    return values


def identity_of(model: Model, values: dict[str, Any]) -> dict[str, Any]:
    """Return a model's values without notes and unchanged later fields, in place."""
    for name, later, default in _marked(type(model)):
        if not later or getattr(model, name) == default:
            del values[name]
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(inner := getattr(model, name), Model):
            identity_of(inner, value)
    return values


@cache
def _marked(model: type[Model]) -> tuple[tuple[str, bool, Any], ...]:
    """Return name, lateness and default of fields marked `NOTE` or `LATER`."""
    found = []
    for name, field in model.model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if marks.keys() & {"note", "later"}:
            found.append((name, "note" not in marks, field.default))
    return tuple(found)


class Spec(Model):
    """Part of a job that many jobs share.

    What is computed from it is kept.
    """

    NOT_KEYED: ClassVar[set[str]] = set()
    """Fields that are not in the keys of its jobs, beside notes."""

    @cached_property
    def key_text(self) -> str:
        """Canonical text of its values in the keys of its jobs."""
        return canonical(identity_of(self, self.model_dump(mode="json", exclude=self.NOT_KEYED)))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, and nothing computed from these."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


SpecT = TypeVar("SpecT", bound=Spec)


class SpecPool:
    """Parts of jobs by their JSON, each validated once.

    Thousands of records have a few dozen different ones, with most of a record's models in them. A
    pool is the `context` of strict validations of JSON, and lasts as long as the reading of a
    folder.
    """

    def __init__(self) -> None:
        self._specs: dict[tuple[type[Spec], bytes], Spec] = {}

    def find(self, model: type[SpecT], value: Any) -> SpecT:
        """Return the model of a JSON value, shared by equal ones.

        Raises:
            ValidationError: if it is invalid.
        """
        text = to_json(value)
        spec = self._specs.get((model, text))
        if spec is None:
            spec = self._specs[model, text] = model.model_validate_json(text, strict=True)
        return cast("SpecT", spec)


class Pooled:
    """Annotation that looks up a `Spec` in the pool.

    Only from strict JSON; all else is validated as without it.
    """

    def __get_pydantic_core_schema__(
        self, source: type[Spec], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def find(value: Any, _: Any, info: ValidationInfo) -> Spec:
            pool = info.context if isinstance(info.context, SpecPool) else SpecPool()
            return pool.find(source, value)

        usual = handler(source)
        pooled = core_schema.with_info_wrap_validator_function(find, usual)
        strict = core_schema.json_or_python_schema(pooled, usual)
        return core_schema.lax_or_strict_schema(usual, strict)
