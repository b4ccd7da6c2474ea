"""Test claims of the literature as predicates over records: published, ours, and whether they hold.

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
MOST_SHOWN = 6
"""Comparisons whose figures a table shows one by one."""

OPERATORS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

Verdict = Literal["holds", "does not hold", "not testable"]


class Term(Model):
    """A metric of a variant, in percent, less that of another where `minus` names one.

    A variant with a recipe of its own is named with it, any other without.
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
            near = did_you_mean(value, METRICS)
            message = f"no metric {format_value(value)}" + (f"; {near}" if near else "")
            raise refusal("unknown-value", message)
        return value


class Comparison(Model):
    """left op right + margin; the margin is in points.

    Without `right`, a variant is compared to itself under the finding's other recipe.
    """

    left: Term
    op: Literal[">", ">=", "<", "<="]
    right: Term | None = None
    margin: float = 0.0

    @model_validator(mode="after")
    def _any_alone(self) -> Self:
        """The wildcard is one side's variant: there it stands for every variant but the other's."""
        inner = (self.left.minus, self.right, self.right.minus if self.right else None)
        if any(term is not None and term.method == ANY for term in inner):
            raise ValueError(f"the method {ANY!r} can only stand on the left, without minus")
        return self


class Finding(Model):
    """A claim, where it was made, and the comparisons that it comes to.

    A claim about recipes says in `over` which recipe is compared to which: terms without a right
    side are then those of the board of the other recipe, in the same grid and dataset. A claim
    about methods at large says in `fewest` without how many comparisons it is not testable.
    """

    id: Name
    claim: str
    source: str
    published: str
    over: dict[Name, Name] = Field(default_factory=dict)
    compare: tuple[Comparison, ...] = Field(min_length=1)
    share: float = Field(1.0, gt=0, le=1)
    fewest: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        if not self.over and any(comparison.right is None for comparison in self.compare):
            raise ValueError("a comparison has a right side, or the finding two recipes (`over`)")
        return self


@dataclass(frozen=True)
class Result:
    """A finding on a board: our figures, or what is missing for them."""

    finding: Finding
    verdict: Verdict
    ours: str


class _Findings(Model):
    """The file."""

    findings: tuple[Finding, ...]


class _MissingError(Exception):
    """A term has no complete value on a board; the message says which."""


def load_findings(path: Path) -> tuple[Finding, ...]:
    """Read findings from a YAML file.

    Raises:
        ConfigError: saying everything that is wrong and where.
    """
    value, locate = read_yaml(path)
    return validate(_Findings, value, Location(display(path), locate)).findings


def evaluate(finding: Finding, board: ResultSet, other: ResultSet | None = None) -> Result:
    """Test a finding on a board. Only complete values count: all seeds of the grid are there.

    Args:
        finding: the claim.
        board: where terms are looked up.
        other: of a claim about recipes, the board of the other recipe.
    """
    held: dict[str, bool] = {}
    missing: list[str] = []
    for left, right, comparison in _sides(finding, board, other or board):
        try:
            values = [_value(term, where) for term, where in (left, right)]
        except _MissingError as error:
            missing.append(str(error))
            continue
        words = [_words(*side, value) for side, value in zip((left, right), values, strict=True)]
        if left[1] is not right[1]:
            words[1] = f"with {right[1].recipe.name} {fixed(values[1], DECIMALS)}"
        holds = OPERATORS[comparison.op](values[0], values[1] + measured(comparison.margin))
        held[", ".join(words)] = holds
    if missing or len(held) < finding.fewest:
        why = f"too few to compare: {len(held)} of {finding.fewest}"
        return Result(finding, "not testable", "; ".join(dict.fromkeys(missing)) or why)
    holds = sum(held.values()) >= measured(finding.share) * len(held)
    return Result(finding, "holds" if holds else "does not hold", _ours(held))


def _ours(held: dict[str, bool]) -> str:
    """Return our figures; of many comparisons only those that fail."""
    if len(held) <= MOST_SHOWN:
        return "; ".join(held)
    text = f"{sum(held.values())} of {len(held)}"
    failing = [words for words, ok in held.items() if not ok]
    return f"{text}; not {'; '.join(failing)}" if failing else text


Side = tuple[Term, ResultSet]


def _sides(
    finding: Finding, board: ResultSet, other: ResultSet
) -> Iterator[tuple[Side, Side, Comparison]]:
    """Yield both sides of each comparison.

    The wildcard is each variant but the right one, under the recipe of the board.
    """
    for comparison in finding.compare:
        left, right = comparison.left, comparison.right
        terms = [left]
        if left.method == ANY:
            against = None if right is None else _find(right, board)
            others = (entry for entry in board.entries if entry is not against)
            terms = [_named(left, entry) for entry in others if entry.variant.recipe is None]
        for term in terms:
            yield (term, board), (right or term, board if right else other), comparison


def _named(term: Term, entry: VariantResult) -> Term:
    """Return a wildcard's term as that of one variant."""
    variant = entry.variant
    words = {"method": variant.method, "hparams": variant.hparams, "init_from": entry.init_method}
    return term.model_copy(update=words)


def _find(term: Term, board: ResultSet) -> VariantResult | None:
    """Return the variant of a board that a term names."""
    identity = (term.method, term.hparams, term.init_from, term.recipe)
    for entry in board.entries:
        variant = entry.variant
        if identity == (variant.method, variant.hparams, entry.init_method, variant.recipe):
            return entry
    return None


def _value(term: Term, board: ResultSet) -> Fraction:
    """Return a term in percent."""
    entry = _find(term, board)
    if entry is None:
        parts = [f"{name} {value}" for name, value in term.hparams.items()]
        parts += [] if term.init_from is None else [f"from {term.init_from}"]
        parts += [] if term.recipe is None else [f"with {term.recipe}"]
        raise _MissingError(" ".join([f"no {term.method}", *parts]))
    value = entry.values[term.metric]
    if value.state != "complete" or value.mean is None:
        raise _MissingError(f"{entry.variant.label} {METRICS[term.metric].title} is {value.state}")
    return value.mean if term.minus is None else value.mean - _value(term.minus, board)


def _words(term: Term, board: ResultSet, value: Fraction) -> str:
    """Return a term as a person reads it: label, metric unless it is accuracy, figure."""
    entry = _find(term, board)
    label = term.method if entry is None else entry.variant.label
    metric = "" if term.metric == "acc" else f" {METRICS[term.metric].title}"
    sign = "" if term.minus is None else "+"
    return f"{label}{metric} {fixed(value, DECIMALS, sign)}"


def pairs_of(
    finding: Finding, boards: Sequence[ResultSet]
) -> list[tuple[ResultSet, ResultSet | None]]:
    """Return the boards of a finding's recipes with those that they are compared to."""
    by_place = {(b.grid, b.dataset.id, b.recipe.name): b for b in boards}
    places = [(b, (b.grid, b.dataset.id, finding.over.get(b.recipe.name, ""))) for b in boards]
    return [(board, by_place[place]) for board, place in places if place in by_place]
