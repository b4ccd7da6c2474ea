"""Test findings of the literature as predicates over our records.

The predicates are data in `results/findings.yaml`; nothing in it is ever run as code.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.result_set import DECIMALS, ResultSet, VariantResult
from ltbench.config.errors import Location, did_you_mean, format_value
from ltbench.config.models import Model, Name, refusal
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml
from ltbench.core.exact import fixed, measured

ANY = "*"
MAX_SHOWN = 6
"""Comparisons up to which a table shows each with its numbers."""

OPERATORS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

Verdict = Literal["holds", "does not hold", "not testable"]


class Term(Model):
    """A metric of a variant in percent, optionally `minus` another term.

    `recipe` is only given for a variant with a recipe of its own.
    """

    method: Name | Literal["*"]
    hparams: dict[str, Any] = Field(default_factory=dict)
    init_from: Name | None = None
    recipe: Name | None = None
    metric: str = "acc"
    minus: "Term | None" = None

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in METRICS:
            hint = did_you_mean(value, METRICS)
            message = f"no metric {format_value(value)}" + (f"; {hint}" if hint else "")
            raise refusal("unknown-value", message)
        return value


class Predicate(Model):
    """The predicate `left op right + margin`; the margin is in points.

    Without `right`, a variant is compared to itself under the finding's other recipe.
    """

    left: Term
    op: Literal[">", ">=", "<", "<="]
    right: Term | None = None
    margin: float = 0.0

    @model_validator(mode="after")
    def _wildcard_on_the_left(self) -> Self:
        """Refuse the wildcard in any term but `left`."""
        inner = (self.left.minus, self.right, self.right.minus if self.right else None)
        if any(term is not None and term.method == ANY for term in inner):
            raise ValueError(f"the method {ANY!r} is only allowed in `left`, not in `minus`")
        return self


class Finding(Model):
    """A claim of the literature with the comparisons that test it.

    Attributes:
        over: of a claim about recipes, the recipe that each recipe is compared to. A comparison
            without a right side is then with the board of the other recipe, in the same grid and
            dataset.
        share: of the comparisons that must hold.
        fewest: comparisons below which the finding is not testable.
    """

    id: Name
    claim: str
    source: str
    published: str
    over: dict[Name, Name] = Field(default_factory=dict)
    compare: tuple[Predicate, ...] = Field(min_length=1)
    share: float = Field(1.0, gt=0, le=1)
    fewest: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        if not self.over and any(comparison.right is None for comparison in self.compare):
            raise ValueError("give each comparison a right side, or the finding recipes in `over`")
        return self


@dataclass(frozen=True)
class Result:
    """A finding tested on a board: our numbers, or what is missing."""

    finding: Finding
    verdict: Verdict
    ours: str


class _Findings(Model):
    """Content of the file."""

    findings: tuple[Finding, ...]


class _MissingError(Exception):
    """Raised for a term without a complete value on a board."""


def load_findings(path: Path) -> tuple[Finding, ...]:
    """Read findings from a YAML file.

    Raises:
        ConfigError: with all problems and their lines.
    """
    value, locate = read_yaml(path)
    return validate(_Findings, value, Location(display(path), locate)).findings


def evaluate(finding: Finding, board: ResultSet, other: ResultSet | None = None) -> Result:
    """Test a finding on a board, using values complete over seeds only.

    Args:
        finding: the claim.
        board: where terms are looked up.
        other: of a claim about recipes, the board of the other recipe.
    """
    outcomes: dict[str, bool] = {}
    missing: list[str] = []
    for left, right, comparison in _sides(finding, board, other or board):
        try:
            values = [_value(*side) for side in (left, right)]
        except _MissingError as error:
            missing.append(str(error))
            continue
        texts = [_text(*side, value) for side, value in zip((left, right), values, strict=True)]
        if left[1] is not right[1]:
            texts[1] = f"with {right[1].recipe.name} {fixed(values[1], DECIMALS)}"
        holds = OPERATORS[comparison.op](values[0], values[1] + measured(comparison.margin))
        outcomes[", ".join(texts)] = holds
    if missing or len(outcomes) < finding.fewest:
        too_few = f"too few to compare: {len(outcomes)} of {finding.fewest}"
        return Result(finding, "not testable", "; ".join(dict.fromkeys(missing)) or too_few)
    holds = sum(outcomes.values()) >= measured(finding.share) * len(outcomes)
    return Result(finding, "holds" if holds else "does not hold", _our_numbers(outcomes))


def _our_numbers(outcomes: dict[str, bool]) -> str:
    """Return our numbers; of many comparisons only those that fail."""
    if len(outcomes) <= MAX_SHOWN:
        return "; ".join(outcomes)
    text = f"{sum(outcomes.values())} of {len(outcomes)}"
    failing = [comparison for comparison, holds in outcomes.items() if not holds]
    return f"{text}; not {'; '.join(failing)}" if failing else text


Side = tuple[Term, ResultSet]


def _sides(
    finding: Finding, board: ResultSet, other: ResultSet
) -> Iterator[tuple[Side, Side, Predicate]]:
    """Yield both sides of each comparison, wildcards expanded.

    The wildcard stands for each variant under the board's recipe but that on the right.
    """
    for comparison in finding.compare:
        left, right = comparison.left, comparison.right
        terms = [left]
        if left.method == ANY:
            excluded = None if right is None else _find(right, board)
            others = (entry for entry in board.entries if entry is not excluded)
            terms = [_expanded(left, entry) for entry in others if entry.variant.recipe is None]
        for term in terms:
            yield (term, board), (right or term, board if right else other), comparison


def _expanded(term: Term, entry: VariantResult) -> Term:
    """Return a wildcard term as the term of one variant."""
    variant = entry.variant
    names = {"method": variant.method, "hparams": variant.hparams, "init_from": entry.init_method}
    return term.model_copy(update=names)


def _find(term: Term, board: ResultSet) -> VariantResult | None:
    """Return the variant that a term names, None if absent."""
    identity = (term.method, term.hparams, term.init_from, term.recipe)
    for entry in board.entries:
        variant = entry.variant
        if identity == (variant.method, variant.hparams, entry.init_method, variant.recipe):
            return entry
    return None


def _value(term: Term, board: ResultSet) -> Fraction:
    """Return the value of a term in percent."""
    entry = _find(term, board)
    if entry is None:
        settings = [f"with {name}={value}" for name, value in term.hparams.items()]
        settings += [] if term.init_from is None else [f"from {term.init_from}"]
        settings += [] if term.recipe is None else [f"with recipe {term.recipe}"]
        raise _MissingError(" ".join([f"no {term.method}", *settings]))
    value = entry.values[term.metric]
    if value.state != "complete" or value.mean is None:
        raise _MissingError(f"{entry.variant.label} {METRICS[term.metric].title} is {value.state}")
    return value.mean if term.minus is None else value.mean - _value(term.minus, board)


def _text(term: Term, board: ResultSet, value: Fraction) -> str:
    """Return a term for a reader, e.g. `LDAM-DRW Few 30.1`."""
    entry = _find(term, board)
    label = term.method if entry is None else entry.variant.label
    metric = "" if term.metric == "acc" else f" {METRICS[term.metric].title}"
    sign = "" if term.minus is None else "+"
    return f"{label}{metric} {fixed(value, DECIMALS, sign)}"


def pairs_of(
    finding: Finding, boards: Sequence[ResultSet]
) -> list[tuple[ResultSet, ResultSet | None]]:
    """Return pairs of boards under a finding's recipe and its counterpart."""
    by_id = {(b.grid, b.dataset.id, b.recipe.name): b for b in boards}
    others = [(b, (b.grid, b.dataset.id, finding.over.get(b.recipe.name, ""))) for b in boards]
    return [(board, by_id[other]) for board, other in others if other in by_id]
