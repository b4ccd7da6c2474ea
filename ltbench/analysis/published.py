"""Figures that papers report, to stand beside ours where dataset, network and epochs are the same.

`reference/published.csv` holds 2,186 figures with their sources, `reference/names.yaml` what their
names are here. "Survey" is Zhang et al., arXiv:2110.04596; "papers" are first-hand reports.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.result_set import ResultSet, VariantResult
from ltbench.config.yaml_file import read_yaml

REFERENCE = Path(__file__).parent / "reference"

OURS = "published records"

PublishedBy = Literal["survey", "papers"]

MISPRINT = Fraction(2, 10)
"""Points by which a printed RA may miss 100 Acc / UA of the figures printed beside it: rounding."""


@dataclass(frozen=True)
class PublishedNumber:
    """A number that a paper or published records report, in percent.

    Attributes:
        metric: its key in METRICS; of one that is not there what the paper calls it.
        value: the number.
        source: the paper's table, or `OURS`.
        std, n: over seeds; a paper's counts as one run without deviation.
        method, dataset, ratio, network, epochs: as printed, epochs maybe empty; of records all are.
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
        """Whether the survey printed it."""
        return self.source.startswith("Survey")

    @property
    def setting(self) -> tuple[str, ...]:
        """What figures share that are printed beside each other."""
        return (self.method, self.dataset, self.ratio, self.network, self.epochs, self.source)


@cache
def published_figures() -> tuple[PublishedNumber, ...]:
    """Return every figure of `reference/published.csv`."""
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


def inconsistent_ra(figures: Iterable[PublishedNumber]) -> dict[PublishedNumber, Fraction]:
    """Return each RA that contradicts the Acc and UA beside it, with 100 Acc / UA."""
    by_setting: dict[tuple[str, ...], dict[str, PublishedNumber]] = {}
    for figure in figures:
        by_setting.setdefault(figure.setting, {})[figure.metric] = figure
    wrong = {}
    for found in by_setting.values():
        if {"acc", "ua", "ra"} <= found.keys():
            computed = 100 * found["acc"].value / found["ua"].value
            if abs(computed - found["ra"].value) > MISPRINT:
                wrong[found["ra"]] = computed
    return wrong


@dataclass(frozen=True)
class Comparable:
    """The figures that may stand beside a board.

    Attributes:
        ending: of the methods' names, which says under which augmentation they were trained.
    """

    figures: tuple[PublishedNumber, ...]
    ending: str = ""

    def of(
        self, entry: VariantResult, metric: str, by: PublishedBy | None = None
    ) -> list[PublishedNumber]:
        """Return the figures of a variant in the order of the file, of one publisher or of both."""
        names = {name + self.ending for name in _published_names(entry)} if self.figures else ()
        return [
            figure
            for figure in self.figures
            if figure.method in names
            and figure.metric == metric
            and by in (None, "survey" if figure.by_survey else "papers")
        ]


def comparable(board: ResultSet) -> Comparable:
    """Return the figures for a board's dataset, ratio, network, epochs and augmentation policy."""
    ours, policy = board.dataset, board.recipe.policy
    dataset = _names()["datasets"].get(ours.name)
    network = _names()["networks"].get(board.recipe.network)
    if dataset is None or network is None or ours.imbalance_type != dataset["imbalance_type"]:
        return Comparable(())
    if ours.max_per_class not in (None, dataset.get("max_per_class")):
        return Comparable(())
    ending = _names()["policies"].get(policy.kind)
    if ending is None or policy.cutout:
        return Comparable(())
    ratio = None if ours.imbalance_ratio is None else f"{ours.imbalance_ratio:g}"
    return Comparable(
        tuple(
            figure
            for figure in published_figures()
            if figure.dataset == dataset["published"]
            and figure.network == network
            and figure.epochs == str(board.recipe.stage1.epochs)
            and ratio in (None, figure.ratio)
            and not any(word in figure.source for word in _names()["second_hand"])
        ),
        ending,
    )


def _published_names(entry: VariantResult) -> frozenset[str]:
    """Return what papers call a variant: nothing where its settings are not the papers'."""
    variant = entry.variant
    if variant.recipe is not None:
        return frozenset()
    identity = (variant.method, variant.hparams, entry.init_method)
    for row in _names()["variants"]:
        if (row["method"], row.get("hparams", {}), row.get("init_from")) == identity:
            return frozenset(row["published"])
    return frozenset()
