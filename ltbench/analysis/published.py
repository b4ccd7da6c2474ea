"""Published numbers of the literature, matched to our boards.

A number is comparable to ours if dataset, imbalance ratio, network, epochs and augmentation policy
are the same. `reference/published.csv` holds 2,186 numbers with their sources,
`reference/names.yaml` maps their names to ours. "Survey" is Zhang et al., arXiv:2110.04596;
"papers" are first-hand reports.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.result_set import ResultSet, VariantResult
from ltbench.config.yaml_file import read_yaml

REFERENCE = Path(__file__).parent / "reference"

OURS = "published records"

PublishedBy = Literal["survey", "papers"]

ROUNDING = Fraction(2, 10)
"""Points by which a printed RA may differ from 100 Acc / UA of the same table."""


@dataclass(frozen=True)
class PublishedNumber:
    """A number of a paper or of published records, in percent.

    Attributes:
        metric: its key in METRICS, or the paper's name of a metric that is not there.
        value: the number.
        source: the paper's table, or `OURS`.
        std, n: over seeds; a paper's number counts as one run without deviation.
        method, dataset, ratio, network, epochs: as printed; empty for records, epochs also if a
            paper does not say.
    """

    metric: str
    value: Fraction
    source: str
    std: Fraction | None = None
    n: int = 1
    method: str = ""
    dataset: str = ""
    ratio: str = ""
    network: str = ""
    epochs: str = ""

    @property
    def by_survey(self) -> bool:
        """Whether its source is the survey."""
        return self.source.startswith("Survey")

    @property
    def setting(self) -> tuple[str, ...]:
        """What the numbers of one table row share."""
        return (self.method, self.dataset, self.ratio, self.network, self.epochs, self.source)


@cache
def published_numbers() -> tuple[PublishedNumber, ...]:
    """Return all numbers of `reference/published.csv`."""
    keys = {metric.published: metric.key for metric in METRICS.values() if metric.published}
    with (REFERENCE / "published.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            PublishedNumber(
                metric=keys.get(row["metric"], row["metric"]),
                value=Fraction(row["value"]),
                source=row["source"],
                method=row["method"],
                dataset=row["dataset"],
                ratio=row["imbalance_factor"],
                network=row["backbone"],
                epochs=row["epochs"],
            )
            for row in csv.DictReader(file)
        )


@cache
def _names() -> dict[str, Any]:
    names: dict[str, Any] = read_yaml(REFERENCE / "names.yaml")[0]
    return names


def inconsistent_ra(numbers: Iterable[PublishedNumber]) -> dict[PublishedNumber, Fraction]:
    """Return 100 Acc / UA of printed RAs that contradict it."""
    by_setting: dict[tuple[str, ...], dict[str, PublishedNumber]] = {}
    for number in numbers:
        by_setting.setdefault(number.setting, {})[number.metric] = number
    inconsistent = {}
    for row in by_setting.values():
        if {"acc", "ua", "ra"} <= row.keys():
            computed = 100 * row["acc"].value / row["ua"].value
            if abs(computed - row["ra"].value) > ROUNDING:
                inconsistent[row["ra"]] = computed
    return inconsistent


@dataclass(frozen=True)
class ComparableNumbers:
    """The published numbers that are comparable to a board.

    Attributes:
        numbers: in the order of the file.
        suffix: of the methods' names, for the augmentation policy.
    """

    numbers: tuple[PublishedNumber, ...]
    suffix: str = ""

    def of(
        self, entry: VariantResult, metric: str, by: PublishedBy | None = None
    ) -> list[PublishedNumber]:
        """Return the numbers of a variant, by default of all publishers."""
        names = {name + self.suffix for name in published_names(entry)} if self.numbers else ()
        places = sorted(i for name in names for i in self._places.get((name, metric), ()))
        return [
            number
            for number in map(self.numbers.__getitem__, places)
            if by in (None, "survey" if number.by_survey else "papers")
        ]

    @cached_property
    def _places(self) -> dict[tuple[str, str], list[int]]:
        """Indices of the numbers by method and metric."""
        places: dict[tuple[str, str], list[int]] = {}
        for i, number in enumerate(self.numbers):
            places.setdefault((number.method, number.metric), []).append(i)
        return places


def comparable(board: ResultSet) -> ComparableNumbers:
    """Return the published numbers with the same setting as a board."""
    ours, policy = board.dataset, board.recipe.policy
    dataset = _names()["datasets"].get(ours.name)
    network = _names()["networks"].get(board.recipe.network)
    if dataset is None or network is None or ours.imbalance_type != dataset["imbalance_type"]:
        return ComparableNumbers(())
    if ours.max_per_class not in (None, dataset.get("max_per_class")):
        return ComparableNumbers(())
    suffix = _names()["policies"].get(policy.kind)
    if suffix is None or policy.cutout:
        return ComparableNumbers(())
    ratio = None if ours.imbalance_ratio is None else f"{ours.imbalance_ratio:g}"
    return ComparableNumbers(
        tuple(
            number
            for number in published_numbers()
            if number.dataset == dataset["published"]
            and number.network == network
            and number.epochs == str(board.recipe.stage1.epochs)
            and ratio in (None, number.ratio)
            and not any(word in number.source for word in _names()["second_hand"])
        ),
        suffix,
    )


def published_names(entry: VariantResult) -> frozenset[str]:
    """Return a variant's names in papers, none for other settings."""
    variant = entry.variant
    if variant.recipe is not None or variant.is_tuned:
        return frozenset()
    identity = _identity(variant.method, variant.hparams, entry.init_method)
    return _names_of_variants().get(identity, frozenset())


@cache
def _names_of_variants() -> dict[tuple[str, str, str | None], frozenset[str]]:
    """Return names in papers by a variant's identity."""
    return {
        _identity(row["method"], row.get("hparams", {}), row.get("init_from")): frozenset(
            row["published"]
        )
        for row in reversed(_names()["variants"])
    }


def _identity(
    method: str, hparams: Mapping[str, Any], init: str | None
) -> tuple[str, str, str | None]:
    return method, json.dumps(hparams, sort_keys=True), init
