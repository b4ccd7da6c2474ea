"""Build a pydantic model from the JSON schema of another one.

Beyond JSON schema, a field may name others of the same model: `at_least` the one that it is not
below, `only_with` those without whose values it has no effect.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_core import to_jsonable_python as plain

from ltbench.config.base import refusal
from ltbench.config.errors import format_value

Schema = Mapping[str, Any]

SCALARS: dict[str, Any] = {
    "number": float,
    "integer": int,
    "boolean": bool,
    "string": str,
    "null": None,
}
CONSTRAINTS = {
    "exclusiveMinimum": "gt",
    "minimum": "ge",
    "exclusiveMaximum": "lt",
    "maximum": "le",
    "multipleOf": "multiple_of",
    "pattern": "pattern",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "minProperties": "min_length",
    "maxProperties": "max_length",
}
"""Keywords of JSON schema, as pydantic's fields call them."""

RELATIONS = ("at_least", "only_with")
"""Keywords that name other fields, see above."""


def model_of(name: str, schema: Schema) -> type[BaseModel]:
    """Return the model of a schema; it forbids other fields."""
    return _Reader(schema.get("$defs", {})).model(name, schema)


class Related(BaseModel):
    """Base of models with fields that depend on others.

    Such a field names them: `json_schema_extra={"at_least": OTHER}`, or
    `json_schema_extra={"only_with": {OTHER: VALUE}}`; it has its default where the other one does
    not have that value.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002 - pydantic's signature
        """Refuse fields below the one that they name, or without effect."""
        unused: list[str] = []
        for name, field in type(self).model_fields.items():
            relations: Any = field.json_schema_extra
            if not isinstance(relations, dict):
                continue
            value = getattr(self, name)
            if (other := relations.get("at_least")) and value < (least := getattr(self, other)):
                raise ValueError(f"{name} is {value}; it has to be at least {other}, {least}")
            if "only_with" in relations and plain(value) != plain(field.default):
                unused += [
                    f"{name} has no effect with {other} {format_value(getattr(self, other))}, "
                    f"only with {json.dumps(needed)}"
                    for other, needed in unmet(relations, partial(getattr, self))
                ]
        if unused:
            raise refusal("no-effect", "; ".join(unused))


def unmet(
    relations: Mapping[str, Any], value_of: Callable[[str], Any]
) -> Iterator[tuple[str, Any]]:
    """Yield the fields and values without which one has no effect.

    Args:
        relations: of the field, see above.
        value_of: returns the value of another field.
    """
    for other, needed in relations.get("only_with", {}).items():
        if plain(value_of(other)) != needed:
            yield other, needed


class _Reader:
    """Converts schemas with shared definitions to types."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self.definitions = definitions

    def model(self, name: str, schema: Schema) -> type[BaseModel]:
        fields: dict[str, Any] = {
            field: (self.related(described), described.get("default", ...))
            for field, described in schema.get("properties", {}).items()
        }
        return create_model(name, __base__=Related, **fields)

    def related(self, schema: Schema) -> Any:
        """Return the type of a field, with the fields that it names."""
        relations = {key: schema[key] for key in RELATIONS if key in schema}
        return Annotated[self.type(schema), Field(json_schema_extra=relations)]

    def type(self, schema: Schema) -> Any:
        plain = self._plain(schema)
        bounds = {word: schema[key] for key, word in CONSTRAINTS.items() if key in schema}
        if "prefixItems" in schema or not bounds:  # a tuple of several types has its length
            return plain
        return Annotated[plain, Field(**bounds)]

    def _plain(self, schema: Schema) -> Any:
        """Return the type without its bounds."""
        if "$ref" in schema:
            return self.type(self.definitions[schema["$ref"].rpartition("/")[2]])
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return reduce(or_, map(self.type, schema[several]))
        if "enum" in schema or "const" in schema:
            return Literal[tuple(schema.get("enum", [schema.get("const")]))]
        match schema.get("type"):
            case "array" if "prefixItems" in schema:
                return tuple[tuple(map(self.type, schema["prefixItems"]))]  # type: ignore[misc]
            case "array":
                return tuple[self.type(schema.get("items", {})), ...]  # type: ignore[misc]
            case "object" if "properties" in schema:
                return self.model(schema.get("title", "mapping"), schema)
            case "object":
                values = schema.get("additionalProperties")
                return dict[str, self.type(values) if isinstance(values, dict) else Any]  # type: ignore[misc]
            case None:
                return Any
            case scalar:
                return SCALARS[scalar]
