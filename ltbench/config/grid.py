"""A grid: datasets x recipes x splits x seeds x variants."""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from ltbench.config.base import PRINTABLE, Listed, Model, Name, Title, one_or_many, refusal
from ltbench.config.dataset import Split, TestedOn

Ratio = Annotated[float, Field(ge=1)]
Ratios = Annotated[
    tuple[Ratio, ...],
    Field(min_length=1),
    BeforeValidator(one_or_many, json_schema_input_type=Ratio | tuple[Ratio, ...]),
]


class Variant(Model):
    """Row of a table: label, method, hyper-parameters, and init weights.

    Attributes:
        recipe: of its own; None for those of the grid.
        recipe_overrides: fields of its recipe's stages to change, by path:
            `stage1.optimizer.lr`.
        sweep: values of hyper-parameters, and of fields as in `recipe_overrides`. When a grid is
            read, the variant becomes one for each combination of them, its trials.
        trial_of: label of the variant whose trial it is.
        trials: keys of the trials by which the values of a tuned variant were chosen.
    """

    label: Annotated[str, Field(min_length=1, max_length=80), PRINTABLE]
    method: Name
    hparams: dict[str, Any] = Field(default_factory=dict)
    init_from: str | None = None
    recipe: Name | None = None
    recipe_overrides: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Annotated[Listed[Any], Field(min_length=1)]] = Field(
        default_factory=dict, min_length=1
    )
    trial_of: str | None = None
    trials: Listed[str] = ()

    @property
    def is_default(self) -> bool:
        """Whether it changes neither its method's values nor the grid's recipe."""
        return not (self.hparams or self.recipe or self.recipe_overrides)

    @property
    def is_tuned(self) -> bool:
        """Whether trials chose its values, or it changes its recipe's fields."""
        return bool(self.trials or self.recipe_overrides)

    @property
    def training_settings(self) -> tuple[Any, ...]:
        """What its jobs depend on: all but the label and its origin."""
        own = (self.hparams, self.recipe, self.recipe_overrides)
        return (self.method, self.init_from, *own)


def _bare_methods(value: Any) -> Any:
    """Return variants, with bare names of methods as variants."""
    if not isinstance(value, list | tuple):
        return value
    return tuple({"label": v, "method": v} if isinstance(v, str) else v for v in value)


def _distinct(what: str) -> AfterValidator:
    """Return a validator that refuses duplicates; `what` names an entry."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = (value.label if isinstance(value, Variant) else value for value in values)
        doubles = sorted(str(name) for name, times in Counter(names).items() if times > 1)
        if doubles:
            raise refusal("duplicate", f"{what} given twice: {', '.join(doubles)}")
        return values

    return AfterValidator(check)


class VariantSetChoice(Model):
    """Entry of a list of variants that stands for a variant set."""

    set: Name


class VariantSet(Model):
    """Variants that several grids share: a file of configs/variants."""

    name: Name
    variants: Annotated[
        tuple[Variant, ...],
        BeforeValidator(_bare_methods, json_schema_input_type=tuple[str | Variant, ...]),
        _distinct("label"),
        Field(min_length=1),
    ]


class DatasetChoice(Model):
    """Dataset of a grid, and fields to impose on it."""

    name: Name
    imbalance_ratio: Ratios | None = None
    imbalance_type: Literal["natural", "exponential", "pareto", "step"] | None = None
    tested_on: TestedOn | None = None


class Grid(Model):
    """Datasets x recipes x splits x seeds x variants, sets expanded.

    Attributes:
        headline: whether a README begins with this grid, even if another one has more results.
        findings: whether findings are tested on it.
    """

    name: Name
    title: Title
    headline: bool = False
    findings: bool = True
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    recipes: Annotated[tuple[Name, ...], _distinct("recipe")] = Field(min_length=1)
    splits: Annotated[tuple[Split, ...], _distinct("split")] = Field(("longtailed",), min_length=1)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], _distinct("seed")] = Field(
        (0,), min_length=1
    )
    variants: Annotated[
        tuple[Variant, ...],
        BeforeValidator(
            _bare_methods,
            json_schema_input_type=str | tuple[str | VariantSetChoice | Variant, ...],
        ),
        _distinct("label"),
        Field(min_length=1),
    ]

    @field_validator(
        "datasets", mode="before", json_schema_input_type=tuple[str | DatasetChoice, ...]
    )
    @classmethod
    def _bare_datasets(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple({"name": v} if isinstance(v, str) else v for v in value)
