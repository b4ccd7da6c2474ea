"""Hyper-parameters of a variant on a dataset, merged and checked.

In order: the defaults of the method, the rules of configs/methods that match the dataset, the
variant, `--set`. Later ones win. A rule's value that has no effect beside the others is left out.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltbench.config.dataset import DatasetSpec
from ltbench.config.errors import (
    Location,
    Merged,
    Problem,
    collect_errors,
    did_you_mean,
    format_path,
    format_value,
    raise_all,
)
from ltbench.config.files import files_of, find_file, read_file
from ltbench.config.registry import HPARAMS_FIELD, MethodInfo, MethodRegistry
from ltbench.config.rules import MethodRules, Rule
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display
from ltbench.core.taxonomy import taxonomy_problems

LocatedRules = tuple[MethodRules, Location]


def read_rules(info: MethodInfo, registry: MethodRegistry) -> LocatedRules:
    """Return the rules of a method, if any, and their location.

    Of rules of another method, which its file may extend, those hyper-parameters count that it has.

    Args:
        info: the method.
        registry: has the other methods.

    Raises:
        ConfigError: naming everything wrong with a rule, alone.
    """
    path = files_of("methods").get(info.key)
    if path is None:
        return MethodRules(rules=()), Location(f"configs/methods/{info.key}.yaml")
    values, location = read_file("methods", path)
    problems: list[Problem] = []
    kept: list[tuple[Rule, Location]] = []
    for i, rule in enumerate(validate(MethodRules, values, location).rules):
        here = location.at("rules", i)
        for name in rule.when.dataset or ():
            with collect_errors(problems):
                find_file("datasets", name, here.at("when", "dataset"))
        own = rule.hparams
        if here.file != location.file:
            with collect_errors(problems):
                owner = registry.get(Path(here.file).stem, here)
                problems += _unfit(owner, rule.hparams, here.at("hparams"))
            own = {name: own[name] for name in info.hparams.get("properties", {}) if name in own}
        problems += _unfit(info, own, here.at("hparams"))
        if own:
            kept.append((rule.model_copy(update={"hparams": own}), here))
    raise_all(problems)
    places = Merged.of(location.at("rules"), {i: here for i, (_, here) in enumerate(kept)})
    rules = MethodRules(rules=tuple(rule for rule, _ in kept))
    return rules, Merged.of(location, {"rules": places})


def unused_rules(registry: MethodRegistry) -> Iterator[Problem]:
    """Yield the files of rules that are of no method.

    They may be of a plugin that is not given.
    """
    for name, path in files_of("methods").items():
        if name not in registry.methods:
            message = f"is not read: no method has the key {format_value(name)}"
            hint = did_you_mean(name, registry.methods)
            yield Location(display(path)).problem("unknown-method", message, hint)


@dataclass(frozen=True)
class ResolvedHParams:
    """Hyper-parameters of a variant on a dataset.

    Attributes:
        values: all of them, the defaults filled in, as plain JSON values.
        rules: those that a rule gave: where it says so, and the source that it names.
    """

    values: dict[str, Any]
    rules: Mapping[str, tuple[Location, str]]


@dataclass(frozen=True)
class HParamResolver:
    """Merges and checks hyper-parameters; reads the rules of each method once."""

    registry: MethodRegistry
    read_rules: Callable[[MethodInfo, MethodRegistry], LocatedRules] = read_rules
    _rules: dict[str, LocatedRules] = field(default_factory=dict)
    _resolved: dict[tuple[str, str, DatasetSpec], ResolvedHParams] = field(default_factory=dict)

    def resolve(
        self,
        method: str,
        given: Mapping[str, Any],
        spec: DatasetSpec,
        location: Location = HPARAMS_FIELD,
    ) -> ResolvedHParams:
        """Return the hyper-parameters of a variant on a dataset.

        Args:
            method: its method.
            given: the hyper-parameters that it sets.
            spec: the dataset.
            location: where they were written.

        Raises:
            ConfigError: naming every invalid value and combination, in the variant or in rules.
        """
        info = self.registry[method]
        known = (info.key, json.dumps(given, sort_keys=True), spec)
        if known not in self._resolved:
            self._resolved[known] = self._resolve(info, given, spec, location)
        return self._resolved[known]

    def _resolve(
        self, info: MethodInfo, given: Mapping[str, Any], spec: DatasetSpec, location: Location
    ) -> ResolvedHParams:
        rules, file = self.rules(info.key)
        matching = rules.for_dataset(spec)
        ruled = {
            name: (file.at("rules", i, "hparams", name), rules.rules[i].source)
            for name, (i, _) in matching.items()
            if name not in given
        }
        values = {name: value for name, (_, value) in matching.items()} | dict(given)
        for name in ruled.keys() & info.without_effect(values):
            del values[name], ruled[name]
        locations = {name: where for name, (where, _) in ruled.items()}
        locations |= {name: location.at(name) for name in given}
        located = Merged.of(location, locations)
        checked = info.validate_hparams(values, located)
        raise_all(_unfit_taxonomies(info, checked, spec, located))
        return ResolvedHParams(checked, ruled)

    def check(
        self,
        method: str,
        given: Mapping[str, Any],
        specs: Iterable[DatasetSpec],
        location: Location,
    ) -> None:
        """Refuse hyper-parameters of a variant that are invalid on a dataset.

        Arguments as of `resolve`. Without datasets only values are checked, not combinations: a
        rule could add what is missing.

        Raises:
            ConfigError: as of `resolve`.
        """
        info, problems = self.registry[method], []
        specs = list(specs)
        self.rules(info.key)
        if not specs:
            problems += _unfit(info, given, location)
        for spec in specs:
            with collect_errors(problems):
                self.resolve(method, given, spec, location)
        raise_all(problems)

    def rules(self, method: str) -> LocatedRules:
        """Return the rules of a method; errors as of `read_rules`."""
        if method not in self._rules:
            self._rules[method] = self.read_rules(self.registry[method], self.registry)
        return self._rules[method]


def _unfit_taxonomies(
    info: MethodInfo, values: Mapping[str, Any], spec: DatasetSpec, location: Location
) -> Iterator[Problem]:
    """Yield the problems of taxonomies on a dataset.

    A hyper-parameter is one if its field has `json_schema_extra={"taxonomy": True}`.
    """
    for name, described in info.hparams.get("properties", {}).items():
        if "taxonomy" in described:
            for problem in taxonomy_problems(values[name], spec.classes):
                yield location.at(name).problem("conflict", f"{problem}, on {spec.id}")


def _unfit(info: MethodInfo, hparams: Mapping[str, Any], location: Location) -> list[Problem]:
    """Return the problems of hyper-parameters that do not depend on others."""
    problems: list[Problem] = []
    with collect_errors(problems):
        info.validate_hparams(hparams, location)
    whole = format_path(location.path)
    return [p for p in problems if p.code != "missing-key" and p.path != whole]
