"""Tables of methods: all, the survey's, and the summary of a board."""

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.result_set import Estimate, VariantResult
from ltbench.config.planning import BASELINE
from ltbench.config.registry import OWN_FAMILY, REGISTRY_FILE, MethodInfo
from ltbench.config.survey import Section, SurveyEntry
from ltbench.report.context import LABEL, BoardContext, metric_column
from ltbench.report.cost_table import counted_on, forward_cost
from ltbench.report.table import EXTRA, FINE_TIMES, ORDINAL, TIMES, Cell, Column, TableSpec

SUMMARIZED = 10
"""Rows of the summary of a board."""


@dataclass(frozen=True)
class Methods:
    """Methods of registry and plugins; `recorded` have published records."""

    infos: Mapping[str, MethodInfo]
    recorded: Collection[str] = ()

    def extra_parameters(self, info: MethodInfo) -> int | None:
        """Return the parameters in addition to those of softmax."""
        baseline = self.infos[BASELINE].cost
        if info.cost is None or baseline is None:
            return None
        return info.cost.parameters - baseline.parameters

    def status(self, info: MethodInfo) -> str:
        """Return the evidence for a method's implementation."""
        if info.family == OWN_FAMILY:
            return "own"
        evidence = {
            "contract": True,
            "oracle": info.oracle and not info.oracle_by_others,
            "oracle by others": info.oracle_by_others,
            "records": info.key in self.recorded,
            "our reading": info.own_reading,
        }
        return ", ".join(name for name, exists in evidence.items() if exists)


def definition(info: MethodInfo) -> str:
    """Return the docstring of a method's file, empty for a plugin's.

    The file is never run.
    """
    path = REGISTRY_FILE.parent / info.family / f"{info.key}.py"
    if not path.is_file():
        return ""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _stages(info: MethodInfo) -> str:
    init_from = [f"({info.init_from})"] if info.init_from else []
    return " → ".join([*init_from, *(stage.name for stage in info.stages)])


METHODS_TABLE: TableSpec[Methods, MethodInfo] = TableSpec(
    name="methods",
    title=lambda _: "Methods",
    caption=lambda _: (
        "Stages: in brackets the method that it is initialized from unless a grid names another. "
        "Extra parameters (teachers and momentum networks included) and forward FLOPs of one "
        "prediction (convolutions and matrix products) are relative to softmax, with ResNet-32, "
        "100 classes and default hyper-parameters. Oracle: the file of reference numbers in "
        "tests/oracles. Status: the evidence for a method: contract tests, an oracle, published "
        "records; oracle by others: its numbers are not from the authors' code; our reading: the "
        "paper's equations were not at hand."
    ),
    columns=lambda of: [
        Column("Key", lambda info: info.key, names=True),
        Column("Method", lambda info: info.title),
        Column("Paper", lambda info: info.paper.title if info.paper else None),
        Column("Venue", lambda info: info.paper.venue if info.paper else None),
        Column("Year", lambda info: info.paper.year if info.paper else None, ORDINAL),
        Column("Category", lambda info: info.category),
        Column("Stages", _stages),
        Column("Extra parameters", of.extra_parameters, EXTRA, "lowest"),
        Column("Forward FLOPs", lambda info: forward_cost(info, of.infos), FINE_TIMES, "lowest"),
        Column("Oracle", lambda info: info.oracle),
        Column("Status", of.status),
    ],
    rows=lambda of: of.infos.values(),
)

Named = tuple[Section, SurveyEntry]


def _survey_caption(of: Sequence[Named]) -> str:
    others = [section == "datasets" for section, entry in of if entry.task is not None]
    fit = [entry for section, entry in of if section != "datasets" and entry.task is None]
    return (
        f"{sum(entry.key is not None for entry in fit)} of {len(fit)} methods are implemented; "
        f"their keys are in brackets. {others.count(False)} more methods and {others.count(True)} "
        "datasets are for other tasks than the classification of single labeled images."
    )


SURVEY_TABLE: TableSpec[Sequence[Named], Named] = TableSpec(
    name="survey",
    title=lambda _: "Methods and datasets of the survey",
    caption=_survey_caption,
    columns=lambda _: [
        Column("Section", lambda row: row[0], names=True),
        Column("Name", lambda row: row[1].name, names=True),
        Column("Venue", lambda row: row[1].venue),
        Column("Year", lambda row: row[1].year, ORDINAL),
        Column("State", lambda row: row[1].state),
    ],
    rows=lambda of: of,
)


def _summary_metric(key: str) -> Column[VariantResult]:
    """Return a metric's column, without numbers of seeds that are the accuracy's."""

    def value_of(entry: VariantResult) -> Estimate:
        value, acc = entry.values[key], entry.values["acc"]
        same = value.state == "partial" and (value.n, value.failed) == (acc.n, acc.failed)
        return replace(value, state="complete") if same else value

    return replace(metric_column(METRICS[key], marked=False), cell=value_of)


def _summary_columns(of: BoardContext) -> list[Column[VariantResult]]:
    def training(entry: VariantResult) -> Cell:
        cost = of.costs.get(entry.variant.label)
        return Cell() if cost is None else Cell(cost.ratio, about=not cost.known)

    def prediction(entry: VariantResult) -> Fraction | None:
        network = of.board.recipe.network
        return forward_cost(of.methods.get(entry.variant.method), of.methods, network)

    return [
        LABEL,
        Column("Seeds", lambda entry: f"{entry.values['acc'].n}/{entry.values['acc'].planned}"),
        *map(_summary_metric, ("acc", "few", "ra")),
        Column("Training", training, TIMES, "lowest"),
        Column("Prediction", prediction, FINE_TIMES, "lowest"),
    ]


SUMMARY_TABLE: TableSpec[BoardContext, VariantResult] = TableSpec(
    name="summary",
    title=lambda of: f"{of.board.title}, {of.board.recipe.title}",
    caption=lambda of: (
        "The most accurate variants, those with all seeds first, and softmax. Seeds: trained, of "
        f"those planned. {of.rule} "
        "Training: FLOPs of all stages, init jobs and teachers, a pass with a gradient counted as "
        "three forward passes; prediction: FLOPs of one forward pass; both relative to softmax, on "
        f"{counted_on(of)} with 100 classes."
    ),
    columns=_summary_columns,
    rows=lambda of: of.leading(SUMMARIZED),
)
