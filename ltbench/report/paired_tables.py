"""Tables of paired comparisons: with a board's baselines, and head to head."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from ltbench.analysis.class_changes import Change, change
from ltbench.analysis.metrics import METRICS
from ltbench.analysis.pairwise import HeadToHead
from ltbench.analysis.result_set import Estimate, EstimateState, VariantResult
from ltbench.analysis.significance import (
    Comparison,
    ComparisonVerdict,
    compare_with_baseline,
    find_baseline,
)
from ltbench.core.exact import mean
from ltbench.core.groups import GROUPS, RULES, Group
from ltbench.report.context import LABEL, BoardContext
from ltbench.report.table import COUNT, P_VALUE, PERCENT, POINTS, Column, TableSpec
from ltbench.runs.record import EvaluationResult, Record, SplitFacts

BASELINES = ("softmax", "balanced_softmax")

PHRASES: dict[ComparisonVerdict, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "not significant": "is not significantly different from",
}

METHOD = (
    "Differences in points of accuracy, with 95 % bootstrap intervals over seeds and images, not "
    "corrected for multiple comparisons. p: McNemar's test of these trained networks on the same "
    "test images"
)
UNPAIRED = "Intervals of groups and classes do not pair images and are conservative."


@dataclass(frozen=True)
class _Comparisons:
    """Comparisons of a board's variants with a baseline, by label."""

    baseline: VariantResult
    by_label: Mapping[str, Comparison]
    seeds: int

    def difference(self, entry: VariantResult) -> Estimate | str | None:
        """Return the difference of a variant, or the reason if absent."""
        comparison, acc = self.by_label.get(entry.variant.label), entry.values["acc"]
        if comparison is not None:
            return difference(comparison, self.seeds)
        if entry is self.baseline:
            return None
        if not self.baseline.values["acc"].keys:
            return Estimate()
        return "not comparable" if acc.keys else acc

    def verdict(self, entry: VariantResult) -> str | None:
        """Return the verdict on a variant."""
        comparison = self.by_label.get(entry.variant.label)
        return None if comparison is None else comparison.verdict

    def p(self, entry: VariantResult) -> Fraction | None:
        """Return the corrected p-value of a variant."""
        comparison = self.by_label.get(entry.variant.label)
        return None if comparison is None else comparison.corrected


def _baselines(of: BoardContext) -> list[VariantResult]:
    baselines = (find_baseline(of.board, method) for method in BASELINES)
    return [baseline for baseline in baselines if baseline is not None]


def _paired_columns(of: BoardContext) -> list[Column[VariantResult]]:
    columns = [LABEL]
    for baseline in _baselines(of):
        label = baseline.variant.label
        by_label = compare_with_baseline(of.board, of.records, baseline.variant.method)
        comparisons = _Comparisons(baseline, by_label, len(of.board.seeds))
        columns += [
            Column(f"Over {label}", comparisons.difference, POINTS, "highest"),
            Column(f"Better than {label}?", comparisons.verdict),
            Column(f"p over {label}", comparisons.p, P_VALUE, "lowest"),
        ]
    return columns


def difference(comparison: Comparison, planned: int) -> Estimate:
    """Return the difference of a comparison as an estimate."""
    state: EstimateState = "complete" if comparison.n == planned else "partial"
    return Estimate(
        mean=comparison.difference,
        interval=comparison.interval,
        n=comparison.n,
        planned=planned,
        state=state,
        keys=comparison.keys,
    )


PAIRED_TABLE: TableSpec[BoardContext, VariantResult] = TableSpec(
    name="paired",
    title=lambda of: (
        f"{of.board.title}: better than "
        f"{' and '.join(baseline.variant.label for baseline in _baselines(of))}?"
    ),
    caption=lambda of: (
        f"{of.setting} {METHOD}, with Holm's correction for all variants that are compared with "
        'the same baseline. "Better" and "worse" need p below 0.05 and an interval without zero; '
        "with one seed they are about these trained networks alone."
    ),
    columns=_paired_columns,
    rows=lambda of: of.entries if _baselines(of) else (),
)


@dataclass(frozen=True)
class _Change:
    """A row: the accuracies of two variants on some classes.

    A single class also has its `group` and number of training `images`.
    """

    name: str
    ours: Estimate
    theirs: Estimate
    difference: Estimate
    group: str = ""
    images: int = 0


@dataclass(frozen=True)
class Match:
    """A head-to-head comparison; `max_classes` limits the table of classes."""

    match: HeadToHead
    comparison: Comparison
    max_classes: int

    @property
    def _record(self) -> Record:
        return next(iter(self.match.runs[0].values()))

    @property
    def split(self) -> SplitFacts:
        """The split of both, with names and training images of the classes."""
        return self._record.split

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The shot group of each class, [C]."""
        return self._record.groups

    def overall(self) -> list[_Change]:
        """Return rows of all classes and of each shot group."""
        pairs, comparison = self.match.pairs(), self.comparison
        ours, theirs = (_mean_accuracy(pair[i] for pair in pairs) for i in range(2))
        every = Change(ours, theirs, comparison.difference, comparison.interval)
        rows = [self._row("All", every)]
        for group in GROUPS:
            members = [k for k, of_class in enumerate(self.groups) if of_class == group]
            rows.append(self._row(METRICS[group].title, change(pairs, members)))
        return rows

    @cached_property
    def classes(self) -> list[_Change]:
        """Rows of the classes with test images, the largest change first."""
        pairs = self.match.pairs()
        every = {k: change(pairs, [k]) for k in range(len(self.groups))}
        changes = {k: of_class for k, of_class in every.items() if of_class is not None}
        order = sorted(changes, key=lambda k: (-abs(changes[k].difference), k))
        return [self._row(self.split.classes[k], changes[k], k) for k in order]

    def _row(self, name: str, change: Change | None, k: int = 0) -> _Change:
        base = replace(difference(self.comparison, self.match.planned), mean=None, interval=None)
        if change is None:
            empty = replace(base, state="empty")
            return _Change(name, empty, empty, empty)
        return _Change(
            name,
            replace(base, mean=change.ours),
            replace(base, mean=change.theirs),
            replace(base, mean=change.difference, interval=change.interval),
            self.groups[k],
            self.split.longtailed_counts[k],
        )


def _change_columns(of: Match) -> list[Column[_Change]]:
    ours, theirs = of.match.labels
    return [
        Column(ours, lambda row: row.ours, PERCENT),
        Column(theirs, lambda row: row.theirs, PERCENT),
        Column("Difference", lambda row: row.difference, POINTS),
    ]


def _mean_accuracy(tests: Iterable[EvaluationResult]) -> Fraction:
    return 100 * mean([test.accuracy for test in tests])


def _sentence(of: Match) -> str:
    """Return the verdict as a sentence."""
    (ours, theirs), comparison, planned = of.match.labels, of.comparison, of.match.planned
    seeds = f"{comparison.n} of {planned} seeds"
    if comparison.n == 1:
        seeds += ", so this is about these trained networks alone"
    return (
        f"{ours} {PHRASES[comparison.verdict]} {theirs} ({p_text(comparison.p)}; {seeds}). "
        f"{comparison.gained:,} predictions are correct with {ours} alone, {comparison.lost:,} "
        f"with {theirs} alone."
    )


def p_text(p: Fraction) -> str:
    """Return a p-value as text, e.g. `p = 0.012`."""
    text = P_VALUE.text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


OVERALL_TABLE: TableSpec[Match, _Change] = TableSpec(
    name="comparison",
    title=lambda of: f"{of.match.setting}: {' against '.join(of.match.labels)}",
    caption=lambda of: (
        f"{_sentence(of)} {METHOD}. Groups: {RULES[of.match.dataset.shot_rule]}; the "
        f"accuracy of a group is the mean over its classes. {UNPAIRED}"
    ),
    columns=lambda of: [
        Column("Classes", lambda row: row.name, names=True),
        *_change_columns(of),
    ],
    rows=Match.overall,
)

BY_CLASS_TABLE: TableSpec[Match, _Change] = TableSpec(
    name="classes",
    title=lambda _: "Classes that changed most",
    caption=lambda of: (
        f"{len(of.classes[: of.max_classes])} of {len(of.classes)} classes, the largest change "
        "first."
    ),
    columns=lambda of: [
        Column("Class", lambda row: row.name, names=True),
        Column("Group", lambda row: row.group, names=True),
        Column("Training images", lambda row: row.images, COUNT),
        *_change_columns(of),
    ],
    rows=lambda of: of.classes[: of.max_classes],
)

HEAD_TO_HEAD = (OVERALL_TABLE, BY_CLASS_TABLE)
"""Tables of a head-to-head comparison, in order."""
