"""What is known of the methods without importing one: the generated catalogue."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from ltbench.config.errors import ConfigError, Problem, Source, did_you_mean, either, show
from ltbench.config.models import Model
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display
from ltbench.core.nouns import NetworkCost, Paper, Stage, Teacher, TestTime

OWN = "own"
"""Family of the methods from outside the package."""

CATALOGUE = Path(__file__).parent.parent / "methods" / "catalogue.json"

METHODS = Source("methods")
HYPER = Source("hyper")

JSON_TYPES: dict[str, Any] = {
    "number": float,
    "integer": int,
    "boolean": bool,
    "string": str,
    "null": None,
}
TYPE_WORDS = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "text",
    "null": "nothing",
}
BOUNDS = {
    "exclusiveMinimum": ("gt", "above"),
    "minimum": ("ge", "at least"),
    "exclusiveMaximum": ("lt", "below"),
    "maximum": ("le", "at most"),
}


class MethodInfo(Model):
    """What a method says of itself (see `ltbench.methods.base.Method`).

    Attributes:
        hyper: JSON schema of its hyper-parameters.
        cost: of its network, where it was measured; never of plugins.
    """

    key: str
    title: str
    paper: Paper | None
    category: str
    family: str
    aliases: tuple[str, ...] = ()
    version: int
    stages: tuple[Stage, ...]
    start_from: str | None
    teachers: tuple[Teacher, ...] = ()
    coupling: Literal["none", "gathered", "per_rank"]
    balanced_equals: str | None
    test_time: TestTime = "fixed"
    oracle: str | None
    hyper: dict[str, Any]
    cost: NetworkCost | None = None

    @property
    def needs_auxiliary(self) -> bool:
        """Whether a stage chooses on auxiliary images."""
        return any(stage.validates for stage in self.stages)

    @cached_property
    def hyper_model(self) -> type[BaseModel]:
        """The model that the schema describes."""
        fields: dict[str, Any] = {
            name: (_annotation(schema), schema.get("default", ...))
            for name, schema in self._hyper_schemas.items()
        }
        config = ConfigDict(
            extra="forbid", allow_inf_nan=False, validate_default=True, protected_namespaces=()
        )
        return create_model(self.key, __config__=config, **fields)

    @property
    def predicts(self) -> bool:
        """Whether its last stage is tested; else it is only a start for others."""
        return self.stages[-1].tests

    @property
    def replaces_classifier(self) -> bool:
        """Whether it gives a network that another method trained a new classifier."""
        return self.category == "decoupled" and self.start_from is not None

    @property
    def _hyper_schemas(self) -> dict[str, Any]:
        schemas: dict[str, Any] = self.hyper.get("properties", {})
        return schemas

    def check_hyper(self, values: Mapping[str, Any], source: Source = HYPER) -> dict[str, Any]:
        """Return hyper-parameters with the defaults filled in.

        Args:
            values: those that are set.
            source: where they were written.

        Raises:
            ConfigError: naming every unknown, missing or unfit one.
        """
        try:
            checked = self.hyper_model.model_validate(dict(values), strict=True)
        except ValidationError as failure:
            names = dict.fromkeys(str(error["loc"][0]) for error in failure.errors())
            problems = [self._unfit(name, values, source.at(name)) for name in names]
            raise ConfigError(problems) from None
        return checked.model_dump(mode="json")

    def _unfit(self, name: str, values: Mapping[str, Any], source: Source) -> Problem:
        schemas = self._hyper_schemas
        if name not in schemas:
            message = f"{self.key} has no such hyper-parameter"
            return source.problem(message, did_you_mean(name, schemas))
        if name not in values:
            return source.problem("is missing")
        return source.problem(f"expected {_words(schemas[name])}, got {show(values[name])}")


@dataclass(frozen=True)
class Catalogue:
    """Methods by key, in the order of the file, plugins last; found by their aliases, too."""

    methods: Mapping[str, MethodInfo]

    @cached_property
    def names(self) -> dict[str, MethodInfo]:
        """Methods by key and by alias."""
        aliases = {alias: info for info in self.methods.values() for alias in info.aliases}
        return aliases | dict(self.methods)

    def __getitem__(self, name: str) -> MethodInfo:
        return self.names[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.methods)

    def __len__(self) -> int:
        return len(self.methods)

    def get(self, name: str, source: Source = METHODS) -> MethodInfo:
        """Return a method.

        Args:
            name: its key, or an alias.
            source: where the name was written.

        Raises:
            ConfigError: if there is no such method, with the nearest name.
        """
        if name not in self.names:
            raise source.error(f"no method {show(name)}", did_you_mean(name, self.names))
        return self.names[name]


def load_catalogue() -> Catalogue:
    """Return the methods of the package.

    Raises:
        ConfigError: if the catalogue cannot be read.
    """
    source = Source(display(CATALOGUE))
    try:
        entries = json.loads(CATALOGUE.read_bytes())
    except (OSError, ValueError) as error:
        message = f"cannot be read, `make catalogue` writes it anew: {error}"
        raise source.error(message) from error
    return Catalogue({key: method_info(key, entry, source) for key, entry in entries.items()})


def method_info(key: str, described: Any, source: Source) -> MethodInfo:
    """Return what a method says of itself, checked.

    Raises:
        ConfigError: naming everything wrong with it.
    """
    return validate(MethodInfo, described, source.at(key), {"key": key})


def _annotation(schema: Mapping[str, Any]) -> Any:
    """Return the type that a JSON schema of a scalar describes."""
    if "anyOf" in schema:
        annotation = reduce(or_, (_annotation(choice) for choice in schema["anyOf"]))
    elif "enum" in schema or "const" in schema:
        annotation = Literal[tuple(schema.get("enum", [schema.get("const")]))]
    else:
        annotation = JSON_TYPES[schema["type"]]
    bounds = {arg: schema[name] for name, (arg, _) in BOUNDS.items() if name in schema}
    return Annotated[annotation, Field(**bounds)] if bounds else annotation


def _words(schema: Mapping[str, Any]) -> str:
    """Say what a JSON schema of a scalar wants."""
    if "anyOf" in schema:
        words = " or ".join(_words(choice) for choice in schema["anyOf"])
    elif "enum" in schema or "const" in schema:
        words = either(schema.get("enum", [schema.get("const")]))
    else:
        words = TYPE_WORDS[schema["type"]]
    bounds = [f"{word} {schema[name]:g}" for name, (_, word) in BOUNDS.items() if name in schema]
    return " ".join([words, " and ".join(bounds)]).strip()
