"""Registry of methods, generated so that planning imports none of them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from ltbench.config.base import Model
from ltbench.config.errors import Location, did_you_mean, format_value
from ltbench.config.json_schema import model_of, unmet
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display
from ltbench.core.types import NetworkCost, Paper, Stage, Teacher, TestTime

OWN_FAMILY = "own"
"""Family of methods from plugins."""

REGISTRY_FILE = Path(__file__).parent.parent / "methods" / "registry.json"

METHODS_FIELD = Location("methods")
HPARAMS_FIELD = Location("hparams")


class MethodInfo(Model):
    """Metadata of a method (see `ltbench.methods.contract.Method`).

    Attributes:
        hparams: JSON schema of its hyper-parameters.
        validates_hparams: whether its class forbids what a JSON schema cannot say.
        load_hparams: returns the method's own model of them; else one is made from the schema.
        plugin_hash: of the source of a plugin's method.
        cost: of its network on ResNet-32, where it was measured; never of plugins.
        other_costs: the same on other backbones, by name.
    """

    key: str
    title: str
    paper: Paper | None
    category: str
    family: str
    aliases: tuple[str, ...] = ()
    version: int
    stages: tuple[Stage, ...]
    init_from: str | None
    teachers: tuple[Teacher, ...] = ()
    batch_dependence: Literal["none", "gathered", "per_rank"]
    reduces_to: str | None
    test_time: TestTime = "inductive"
    oracle: str | None
    oracle_by_others: bool = False
    own_reading: bool = False
    hparams: dict[str, Any]
    validates_hparams: bool = False
    load_hparams: Callable[[], type[BaseModel]] | None = Field(None, exclude=True)
    plugin_hash: str | None = None
    cost: NetworkCost | None = None
    other_costs: dict[str, NetworkCost] = Field(default_factory=dict)

    def cost_on(self, backbone: str) -> NetworkCost | None:
        """Return the cost on a backbone, by default that on ResNet-32."""
        return self.other_costs.get(backbone, self.cost)

    @cached_property
    def hparams_model(self) -> type[BaseModel]:
        """The model of its hyper-parameters."""
        return self.load_hparams() if self.load_hparams else model_of(self.key, self.hparams)

    @property
    def predicts(self) -> bool:
        """Whether its last stage is evaluated; else it only pre-trains."""
        return self.stages[-1].is_evaluated

    @property
    def replaces_classifier(self) -> bool:
        """Whether it trains a new classifier for the network of another method."""
        return self.category == "decoupled" and self.init_from is not None

    def validate_hparams(
        self, values: Mapping[str, Any], location: Location = HPARAMS_FIELD
    ) -> dict[str, Any]:
        """Return hyper-parameters with defaults, as plain JSON values.

        Args:
            values: those that are set.
            location: where they were written.

        Raises:
            ConfigError: naming every unknown, missing or invalid one, and each combination that
                the method forbids.
        """
        for _ in ("values", "defaults"):
            checked = validate(self.hparams_model, dict(values), location)
            values = checked.model_dump(mode="json", warnings=False)
        return dict(values)

    def without_effect(self, values: Mapping[str, Any]) -> set[str]:
        """Return the hyper-parameters that have no effect beside others."""
        described = self.hparams.get("properties", {})

        def value_of(name: str) -> Any:
            return values.get(name, described[name].get("default"))

        return {name for name, field in described.items() if any(unmet(field, value_of))}

    def shared_hparams(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return another method's hyper-parameters that this one has, too."""
        known = self.hparams.get("properties", {})
        return {name: value for name, value in values.items() if name in known}

    def keyed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return hyper-parameters without those marked `LATER` that have their default.

        Records that were published before know nothing of them, and their keys still hold.
        """
        described = self.hparams.get("properties", {})
        marked = {name: field for name, field in described.items() if "later" in field}
        return {
            name: value
            for name, value in values.items()
            if name not in marked or value != marked[name]["default"]
        }


@dataclass(frozen=True)
class MethodRegistry:
    """Methods by key or alias, in registry order, plugins last."""

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

    def get(self, name: str, location: Location = METHODS_FIELD) -> MethodInfo:
        """Return a method.

        Args:
            name: its key, or an alias.
            location: where the name was written.

        Raises:
            ConfigError: if there is no such method, with the nearest name.
        """
        if name not in self.names:
            message, suggestion = f"no method {format_value(name)}", did_you_mean(name, self.names)
            own = "--plugin FILE adds methods of your own"
            hint = f"{suggestion} {own}" if suggestion else own
            raise location.error("unknown-method", message, hint)
        return self.names[name]


def load_registry() -> MethodRegistry:
    """Return the methods of the package.

    Raises:
        ConfigError: if the registry cannot be read.
    """
    location = Location(display(REGISTRY_FILE))
    try:
        entries = json.loads(REGISTRY_FILE.read_bytes())
    except (OSError, ValueError) as error:
        message = f"cannot be read, `make registry` writes it anew: {error}"
        raise location.error("unreadable", message) from error
    return MethodRegistry(
        {key: method_info(key, entry, location) for key, entry in entries.items()}
    )


def method_info(key: str, described: Any, location: Location) -> MethodInfo:
    """Return the checked metadata of a method.

    Raises:
        ConfigError: naming everything wrong with it.
    """
    return validate(MethodInfo, described, location.at(key), {"key": key})
