"""Rules for hyper-parameters by dataset, classes or ratio: configs/methods/<key>.yaml."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from ltbench.config.base import Model, Name, one_or_many
from ltbench.config.dataset import DatasetSpec
from ltbench.config.grid import Ratios

Names = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(one_or_many, json_schema_input_type=Name | tuple[Name, ...]),
]


class Range(Model):
    """Range of whole numbers, bounds included; a missing one is open."""

    min: int | None = None
    max: int | None = None

    @model_validator(mode="after")
    def _holds_a_number(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs a min, a max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        return self

    def __contains__(self, number: int) -> bool:
        return (self.min is None or self.min <= number) and (self.max is None or number <= self.max)


class When(Model):
    """Condition on the dataset; a list means any of its values.

    A missing field matches all datasets.

    Rules of a paper that hold for its kind of data say so by `classes` and `image_size` (pixels),
    so that they hold for other datasets of that kind, too.
    """

    dataset: Names | None = None
    classes: Range | None = None
    image_size: Range | None = None
    imbalance_ratio: Ratios | None = None

    def matches(self, spec: DatasetSpec) -> bool:
        """Return whether a dataset matches."""
        return (
            (self.dataset is None or spec.name in self.dataset)
            and (self.classes is None or spec.classes in self.classes)
            and (self.image_size is None or spec.image_size in self.image_size)
            and (self.imbalance_ratio is None or spec.imbalance_ratio in self.imbalance_ratio)
        )


class Rule(Model):
    """Hyper-parameters under a condition, and their source in paper or code."""

    when: When
    hparams: dict[str, Any] = Field(min_length=1)
    source: str = Field(min_length=1)


class MethodRules(Model):
    """Rules of one method; where several match, later ones win."""

    rules: tuple[Rule, ...]

    def for_dataset(self, spec: DatasetSpec) -> dict[str, tuple[int, Any]]:
        """Return rule number and value of each hyper-parameter for a dataset."""
        return {
            name: (number, value)
            for number, rule in enumerate(self.rules)
            if rule.when.matches(spec)
            for name, value in rule.hparams.items()
        }
