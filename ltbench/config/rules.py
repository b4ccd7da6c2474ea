"""Hyper-parameters that papers change by dataset or ratio: configs/methods/<key>.yaml."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ltbench.config.models import DatasetSpec, Model, Name, Ratios, one_or_many

Names = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(one_or_many, json_schema_input_type=Name | tuple[Name, ...]),
]


class When(Model):
    """Which datasets a rule is for; a list means any of, a field that is not given means all."""

    dataset: Names | None = None
    ratio: Ratios | None = None

    def matches(self, spec: DatasetSpec) -> bool:
        """Return whether the rule is for a dataset."""
        return (self.dataset is None or spec.name in self.dataset) and (
            self.ratio is None or spec.ratio in self.ratio
        )


class Rule(Model):
    """Hyper-parameters of a case, and the paper, table or file of the authors that says so."""

    when: When
    hyper: dict[str, Any] = Field(min_length=1)
    source: str = Field(min_length=1)


class MethodRules(Model):
    """Rules of one method; where several match, later ones win."""

    rules: tuple[Rule, ...]

    def hyper(self, spec: DatasetSpec) -> dict[str, Any]:
        """Return the hyper-parameters for a dataset."""
        merged: dict[str, Any] = {}
        for rule in self.rules:
            if rule.when.matches(spec):
                merged |= rule.hyper
        return merged
