"""Test findings of the literature as predicates over our records.

The predicates are data in `results/findings.yaml`; nothing in it is ever run as code. A comparison
holds, or is reversed, if p is below 5 % after Holm's correction for all comparisons on the same
dataset and recipe, and zero is outside the 95 % interval over seeds and images. A finding holds if
enough of its comparisons do, is "not in this setting" if so many are reversed that they cannot, and
is "not significant" otherwise. Variants without results that a wildcard stands for are left out and
counted; any other missing result leaves a finding untested.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ltbench.analysis.causes import Causes, Narrowed, explain
from ltbench.analysis.contrasts import Contrast, Summand, contrast, merged
from ltbench.analysis.metrics import METRICS, check_metric
from ltbench.analysis.result_set import DECIMALS, ResultSet, VariantResult
from ltbench.analysis.significance import separation
from ltbench.analysis.statistics import holm
from ltbench.config.base import Model, Name
from ltbench.config.errors import Location
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml
from ltbench.core.exact import fixed, measured
from ltbench.core.groups import GROUPS
from ltbench.runs.store import Stored

ANY = "*"
MAX_SHOWN = 6
"""Comparisons up to which a table shows each with its numbers."""

TESTED_METRICS = ("acc", "balanced_acc", "ua", "ra", *GROUPS)
"""Metrics with a significance test: means of accuracies, and their ratios."""

FAILS = {-1: "reversed", 0: "not significant"}
"""Results of a comparison that does not hold, by the sign of its significant difference."""

FindingVerdict = Literal["holds", "not in this setting", "not significant", "not testable"]


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
        check_metric(value, TESTED_METRICS, " is tested")
        return value


class Predicate(Model):
    """The predicate `left op right`.

    Without `right`, a variant is compared to itself under the finding's other recipe.
    """

    left: Term
    op: Literal[">", "<"]
    right: Term | None = None

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
        controls: variants that are no method of their own, which the wildcard does not stand for.
        causes: by recipe, why it does not hold there.
    """

    id: Name
    claim: str
    source: str
    published: str
    over: dict[Name, Name] = Field(default_factory=dict)
    causes: Causes = Field(default_factory=dict)
    compare: tuple[Predicate, ...] = Field(min_length=1)
    share: float = Field(1.0, gt=0, le=1)
    fewest: int = Field(1, ge=1)
    controls: tuple[Term, ...] = ()

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        if not self.over and any(comparison.right is None for comparison in self.compare):
            raise ValueError("give each comparison a right side, or the finding recipes in `over`")
        return self


@dataclass(frozen=True)
class Result:
    """A finding tested on a board.

    Attributes:
        ours: our numbers, or what is missing.
        cause: why the finding is not so in this setting, else empty.
    """

    finding: Finding
    board: ResultSet
    verdict: FindingVerdict
    ours: str
    cause: str = ""


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


@dataclass(frozen=True)
class _Compared:
    """A comparison with its numbers.

    Attributes:
        left, right: its sides with their numbers; the right one has the seeds, if some lack.
        sign: 1 if the claim is that the contrast is positive, else -1.
        summands: of the contrast, left minus right.
    """

    left: str
    right: str
    sign: int
    summands: tuple[Summand, ...]
    contrast: Contrast


def evaluate_findings(
    findings: Sequence[Finding],
    boards: Sequence[ResultSet],
    records: Mapping[str, Stored],
    narrowed: Narrowed,
    shown: Sequence[ResultSet],
) -> list[Result]:
    """Test findings on boards, over the seeds that terms share.

    A claim about recipes is tested on boards of these recipes, any other on boards whose runs are
    not all on another board, too.

    Args:
        findings: the claims.
        boards: where terms are looked up.
        records: valid records by key.
        narrowed: returns a board with results of some seeds alone.
        shown: boards whose runs show causes.
    """
    compared: list[tuple[Finding, ResultSet, tuple[list[_Compared], int] | str]] = []
    distinct = [(board, board) for board in without_repeated(boards)]
    for finding in findings:
        pairs = pairs_of(finding, boards) if finding.over else distinct
        compared += [
            (finding, b, _compare(finding, b, other, records, narrowed)) for b, other in pairs
        ]
    families: dict[str, dict[tuple[Summand, ...], Fraction]] = {}
    for _, board, found in compared:
        made = () if isinstance(found, str) else found[0]
        families.setdefault(board.id, {}).update({each.summands: each.contrast.p for each in made})
    corrected = {
        board: dict(zip(tests, holm([*tests.values()]), strict=True))
        for board, tests in families.items()
    }
    results = [
        Result(finding, board, "not testable", found)
        if isinstance(found, str)
        else Result(finding, board, *_verdict(finding, *found, corrected[board.id]))
        for finding, board, found in compared
    ]
    return [
        replace(each, cause=explain(each.finding.causes, each.board, shown, narrowed))
        if each.verdict == "not in this setting"
        else each
        for each in results
    ]


def _compare(
    finding: Finding,
    board: ResultSet,
    other: ResultSet,
    records: Mapping[str, Stored],
    narrowed: Narrowed,
) -> tuple[list[_Compared], int] | str:
    """Return comparisons and how many are left out, or what is missing."""
    compared: list[_Compared] = []
    missing: list[str] = []
    left_out = 0
    for *named, comparison in _sides(finding, board, other):
        try:
            (left, right), seeds = _over_common_seeds(named, records, narrowed)
            values = [_value(*side) for side in (left, right)]
        except _MissingError as error:
            missing.append(str(error))
            left_out += comparison.left.method == ANY
            continue
        ours, theirs = (_text(*s, value) for s, value in zip((left, right), values, strict=True))
        if named[0][1] is not named[1][1]:
            theirs = f"with {right[1].recipe.name} {fixed(values[1], DECIMALS)}"
        if len(seeds) < len(board.seeds):
            theirs += f", {len(seeds)} of {len(board.seeds)} seeds"
        sides = zip((left, right), (1, -1), strict=True)
        summands = merged(
            [summand for side, sign in sides for summand in _summands(*side, sign, records)]
        )
        compared.append(
            _Compared(
                ours,
                theirs,
                1 if comparison.op == ">" else -1,
                summands,
                contrast(values[0] - values[1], summands, records),
            )
        )
    if len(missing) > left_out or len(compared) < finding.fewest:
        too_few = f"too few to compare: {len(compared)} of {finding.fewest}"
        return "; ".join(dict.fromkeys(missing)) or too_few
    return compared, left_out


def _verdict(
    finding: Finding,
    compared: Sequence[_Compared],
    left_out: int,
    corrected: Mapping[tuple[Summand, ...], Fraction],
) -> tuple[FindingVerdict, str]:
    """Return the verdict on a finding, and our numbers."""
    signs = [
        each.sign * separation(corrected[each.summands], each.contrast.interval)
        for each in compared
    ]
    required = ceil(measured(finding.share) * len(signs))
    hold, reversed_ = signs.count(1), signs.count(-1)
    verdict: FindingVerdict = (
        "holds"
        if hold >= required
        else "not in this setting"
        if len(signs) - reversed_ < required
        else "not significant"
    )
    numbers = _our_numbers(compared, signs)
    if left_out:
        numbers += f"; {left_out} of {len(signs) + left_out} without results"
    return verdict, numbers


def _our_numbers(compared: Sequence[_Compared], signs: Sequence[int]) -> str:
    """Return our numbers; of many comparisons only those that do not hold.

    Args:
        compared: the comparisons.
        signs: 1 for those that hold, -1 for those that are reversed, else 0.
    """
    if len(compared) <= MAX_SHOWN:
        remarks = {sign: f" ({text})" for sign, text in FAILS.items()}
        numbers = (
            f"{each.left}, {each.right}{remarks.get(sign, '')}"
            for each, sign in zip(compared, signs, strict=True)
        )
        return "; ".join(dict.fromkeys(numbers))
    others: dict[tuple[int, str], list[str]] = {}
    for each, sign in zip(compared, signs, strict=True):
        others.setdefault((sign, each.right), []).append(each.left)
    shown = [f"{signs.count(1)} of {len(signs)} hold"]
    for sign, text in FAILS.items():
        for (of_sign, right), lefts in others.items():
            if of_sign == sign:
                shown.append(f"{text}, against {right}: {', '.join(lefts)}")
    return "; ".join(shown)


Side = tuple[Term, ResultSet]


def _sides(
    finding: Finding, board: ResultSet, other: ResultSet
) -> Iterator[tuple[Side, Side, Predicate]]:
    """Yield both sides of each comparison, wildcards expanded.

    The wildcard stands for each variant under the board's recipe but that on the right, controls
    and tuned ones.
    """
    controls = [_find(control, board) for control in finding.controls]
    for comparison in finding.compare:
        left, right = comparison.left, comparison.right
        terms = [left]
        if left.method == ANY:
            excluded = None if right is None else _find(right, board)
            left_out = [excluded, *controls]
            others = (e for e in board.entries if all(e is not each for each in left_out))
            terms = [
                _expanded(left, e) for e in others if not (e.variant.recipe or e.variant.is_tuned)
            ]
        for term in terms:
            yield (term, board), (right or term, board if right else other), comparison


def _expanded(term: Term, entry: VariantResult) -> Term:
    """Return a wildcard term as the term of one variant."""
    variant = entry.variant
    names = {"method": variant.method, "hparams": variant.hparams, "init_from": entry.init_method}
    return term.model_copy(update=names)


def _find(term: Term, board: ResultSet) -> VariantResult | None:
    """Return the variant that a term names, None if absent or tuned."""
    identity = (term.method, term.hparams, term.init_from, term.recipe)
    for entry in board.entries:
        variant = entry.variant
        if variant.is_tuned:
            continue
        if identity == (variant.method, variant.hparams, entry.init_method, variant.recipe):
            return entry
    return None


def _entry(term: Term, board: ResultSet) -> VariantResult:
    """Return the measured variant that a term names."""
    entry = _find(term, board)
    if entry is None:
        settings = [f"with {name}={value}" for name, value in term.hparams.items()]
        settings += [] if term.init_from is None else [f"from {term.init_from}"]
        settings += [] if term.recipe is None else [f"with recipe {term.recipe}"]
        raise _MissingError(" ".join([f"no {term.method}", *settings]))
    if entry.values[term.metric].mean is None:
        raise _MissingError(_absence(term, entry))
    return entry


def _value(term: Term, board: ResultSet) -> Fraction:
    """Return the value of a term in percent."""
    mean = _entry(term, board).values[term.metric].mean or Fraction(0)
    return mean if term.minus is None else mean - _value(term.minus, board)


def _absence(term: Term, entry: VariantResult) -> str:
    state = entry.values[term.metric].state
    return f"{entry.variant.label} {METRICS[term.metric].title} is {state}"


def _terms(term: Term, board: ResultSet) -> Iterator[Side]:
    """Yield a term and those that it subtracts."""
    yield term, board
    if term.minus:
        yield from _terms(term.minus, board)


def _over_common_seeds(
    sides: Sequence[Side], records: Mapping[str, Stored], narrowed: Narrowed
) -> tuple[list[Side], frozenset[int]]:
    """Return sides on boards of their common seeds, and these seeds."""
    entries = [(term, _entry(term, board)) for side in sides for term, board in _terms(*side)]
    seeds = [
        frozenset(records[key].record.job.seed for key in entry.values[term.metric].keys)
        for term, entry in entries
    ]
    common = frozenset.intersection(*seeds)
    if not common:
        raise _MissingError("; ".join(dict.fromkeys(_absence(*each) for each in entries)))
    if all(each == common for each in seeds):
        return list(sides), common
    return [(term, narrowed(board, common)) for term, board in sides], common


def _summands(
    term: Term, board: ResultSet, sign: int, records: Mapping[str, Stored]
) -> list[Summand]:
    """Return the accuracies of a term, times a sign.

    RA = Acc / UA is linearized: (Acc - RA UA) / UA, with the means of RA and UA fixed.
    """
    entry = _find(term, board)
    if entry is None:
        raise ValueError(f"no {term.method} on this board")
    weight, keys = Fraction(sign), entry.values["acc"].keys
    if term.metric in ("acc", "balanced_acc", *GROUPS):
        summands = [Summand(weight, keys, _classes(term.metric, records[keys[0]]))]
    elif term.metric == "ua":
        summands = [Summand(weight, entry.upper_keys)]
    else:
        upper, relative = (entry.values[name].mean or Fraction(0) for name in ("ua", "ra"))
        weight *= 100 / upper
        seeds = {records[key].record.job.seed for key in entry.upper_keys}
        keys = tuple(key for key in keys if records[key].record.job.seed in seeds)
        summands = [Summand(weight, keys), Summand(-weight * relative / 100, entry.upper_keys)]
    return summands + (_summands(term.minus, board, -sign, records) if term.minus else [])


def _classes(metric: str, stored: Stored) -> tuple[int, ...] | None:
    """Return the classes of a metric, None for all images alike."""
    record = stored.record
    if metric == "acc" or record.test is None:
        return None
    pairs = zip(record.groups, record.test.totals, strict=True)
    return tuple(k for k, (group, n) in enumerate(pairs) if n and metric in ("balanced_acc", group))


def _text(term: Term, board: ResultSet, value: Fraction) -> str:
    """Return a term for a reader, e.g. `LDAM-DRW Few 30.1`."""
    entry = _find(term, board)
    label = term.method if entry is None else entry.variant.label
    metric = "" if term.metric == "acc" else f" {METRICS[term.metric].title}"
    sign = "" if term.minus is None else "+"
    return f"{label}{metric} {fixed(value, DECIMALS, sign)}"


def pairs_of(finding: Finding, boards: Sequence[ResultSet]) -> list[tuple[ResultSet, ResultSet]]:
    """Return pairs of boards under a finding's recipe and its counterpart."""
    by_id = {(b.grid, b.dataset.id, b.recipe.name): b for b in boards}
    others = [(b, (b.grid, b.dataset.id, finding.over.get(b.recipe.name, ""))) for b in boards]
    return [(board, by_id[other]) for board, other in others if other in by_id]


def without_repeated(boards: Sequence[ResultSet]) -> list[ResultSet]:
    """Return boards with runs that no other has, the first of equals."""
    keys = [
        frozenset(key for entry in board.entries for key in (*entry.keys, *entry.upper_keys))
        for board in boards
    ]
    return [
        board
        for i, (board, own) in enumerate(zip(boards, keys, strict=True))
        if not any(own < other or (own == other and j < i) for j, other in enumerate(keys))
    ]
