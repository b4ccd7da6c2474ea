"""Paired comparisons: of a board's variants with baselines, and of two variants with each other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from ltbench.analysis.class_changes import Change, change
from ltbench.analysis.metrics import METRICS
from ltbench.analysis.pairwise import HeadToHead
from ltbench.analysis.result_set import Estimate, State, VariantResult
from ltbench.analysis.significance import Comparison, Verdict, compare_rows, find_baseline
from ltbench.core.exact import mean
from ltbench.core.groups import GROUPS, RULES, Group, class_groups
from ltbench.report.context import LABEL, BoardContext
from ltbench.report.table import COUNT, P_VALUE, PERCENT, POINTS, Column, TableSpec
from ltbench.runs.record import EvaluationResult

BASELINES = ("softmax", "balanced_softmax")

VERDICTS: dict[Verdict, str] = {
    "better": "yes",
    "worse": "no, worse",
    "not separable": "not separable",
}
WORDS: dict[Verdict, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "not separable": "cannot be told apart from",
}

HOW = (
    "Differences in points of accuracy, with 95 % bootstrap intervals over seeds and images. p: "
    "McNemar's test on the same test images"
)
UNPAIRED = "Intervals of groups and classes do not pair images and are rather too wide."


@dataclass(frozen=True)
class _Against:
    """A baseline of a board, and how others differ from it, by label."""

    base: VariantResult
    found: Mapping[str, Comparison]
    seeds: int

    def over(self, entry: VariantResult) -> Estimate | str | None:
        """Return by how much a variant is better, or why that is not known."""
        comparison, acc = self.found.get(entry.variant.label), entry.values["acc"]
        if comparison is not None:
            return difference(comparison, self.seeds)
        if entry is self.base:
            return None
        if not self.base.values["acc"].keys:
            return Estimate()
        return "not comparable" if acc.keys else acc

    def verdict(self, entry: VariantResult) -> str | None:
        """Return what can be said of a difference."""
        comparison = self.found.get(entry.variant.label)
        return None if comparison is None else VERDICTS[comparison.verdict]

    def p(self, entry: VariantResult) -> Fraction | None:
        """Return the corrected p of a difference."""
        comparison = self.found.get(entry.variant.label)
        return None if comparison is None else comparison.corrected


def _baselines(of: BoardContext) -> list[VariantResult]:
    found = (find_baseline(of.board, method) for method in BASELINES)
    return [base for base in found if base is not None]


def _paired_columns(of: BoardContext) -> list[Column[VariantResult]]:
    columns = [LABEL]
    for base in _baselines(of):
        found, label = compare_rows(of.board, of.records, base.variant.method), base.variant.label
        against = _Against(base, found, len(of.board.seeds))
        columns += [
            Column(f"Over {label}", against.over, POINTS, "highest"),
            Column(f"Better than {label}?", against.verdict),
            Column(f"p over {label}", against.p, P_VALUE, "lowest"),
        ]
    return columns


def difference(comparison: Comparison, planned: int) -> Estimate:
    """Return a difference over some of the planned seeds."""
    state: State = "complete" if comparison.n == planned else "partial"
    return Estimate(
        mean=comparison.difference,
        interval=comparison.interval,
        n=comparison.n,
        planned=planned,
        state=state,
        keys=comparison.keys,
    )


PAIRED: TableSpec[BoardContext, VariantResult] = TableSpec(
    name="paired",
    title=lambda of: (
        f"{of.board.title}: better than "
        f"{' and '.join(base.variant.label for base in _baselines(of))}?"
    ),
    caption=lambda of: (
        f"{of.setting} {HOW}, corrected by Holm for all variants that are compared with the same "
        'one. "Yes" and "worse" need a p below 0.05 and an interval without zero; with one seed '
        "both speak of these trained networks alone."
    ),
    columns=_paired_columns,
    rows=lambda of: of.entries if _baselines(of) else (),
)


@dataclass(frozen=True)
class _Change:
    """Two variants on some classes; of a single class also its group and training images."""

    name: str
    ours: Estimate
    theirs: Estimate
    difference: Estimate
    group: str = ""
    images: int = 0


@dataclass(frozen=True)
class Match:
    """Two variants beside each other, with the paired comparison of all their answers."""

    match: HeadToHead
    comparison: Comparison
    most: int

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Long-tailed training images of each class, [C]."""
        return next(iter(self.match.runs[0].values())).split.longtailed_counts

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The group of each class, [C]."""
        return class_groups(self.counts, self.match.dataset.shot_rule)

    def overall(self) -> list[_Change]:
        """Return the change on all classes, and on groups."""
        pairs, found = self.match.pairs(), self.comparison
        ours, theirs = (_mean_accuracy(pair[i] for pair in pairs) for i in range(2))
        rows = [self._row("All", Change(ours, theirs, found.difference, found.interval))]
        for group in GROUPS:
            members = [k for k, own in enumerate(self.groups) if own == group]
            rows.append(self._row(METRICS[group].title, change(pairs, members)))
        return rows

    @cached_property
    def classes(self) -> list[_Change]:
        """The change on every class that has test images, the largest first."""
        pairs = self.match.pairs()
        found = {k: change(pairs, [k]) for k in range(len(self.counts))}
        changes = {k: of_class for k, of_class in found.items() if of_class is not None}
        order = sorted(changes, key=lambda k: (-abs(changes[k].difference), k))
        return [self._row(str(k), changes[k], k) for k in order]

    def _row(self, name: str, found: Change | None, k: int = 0) -> _Change:
        base = replace(difference(self.comparison, self.match.planned), mean=None, interval=None)
        if found is None:
            empty = replace(base, state="empty")
            return _Change(name, empty, empty, empty)
        return _Change(
            name,
            replace(base, mean=found.ours),
            replace(base, mean=found.theirs),
            replace(base, mean=found.difference, interval=found.interval),
            self.groups[k],
            self.counts[k],
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
    """Return the verdict in words."""
    (ours, theirs), comparison, planned = of.match.labels, of.comparison, of.match.planned
    seeds = f"{comparison.n} of {planned} seeds"
    if comparison.n == 1:
        seeds += ", so that it speaks of these trained networks alone"
    return (
        f"{ours} {WORDS[comparison.verdict]} {theirs} ({p_text(comparison.p)}; {seeds}). "
        f"{comparison.gained:,} answers are right with {ours} alone, {comparison.lost:,} with "
        f"{theirs} alone."
    )


def p_text(p: Fraction) -> str:
    """Return a p-value in a sentence."""
    text = P_VALUE.text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


OVERALL: TableSpec[Match, _Change] = TableSpec(
    name="comparison",
    title=lambda of: f"{of.match.place}: {' against '.join(of.match.labels)}",
    caption=lambda of: (
        f"{_sentence(of)} {HOW}. Groups: {RULES[of.match.dataset.shot_rule]}; a "
        f"group's accuracy is the mean over its classes. {UNPAIRED}"
    ),
    columns=lambda of: [
        Column("Classes", lambda row: row.name, names=True),
        *_change_columns(of),
    ],
    rows=Match.overall,
)

BY_CLASS: TableSpec[Match, _Change] = TableSpec(
    name="classes",
    title=lambda _: "Classes that changed most",
    caption=lambda of: (
        f"{len(of.classes[: of.most])} of {len(of.classes)} classes, the largest change first."
    ),
    columns=lambda of: [
        Column("Class", lambda row: row.name, names=True),
        Column("Group", lambda row: row.group, names=True),
        Column("Training images", lambda row: row.images, COUNT),
        *_change_columns(of),
    ],
    rows=lambda of: of.classes[: of.most],
)

HEAD_TO_HEAD = (OVERALL, BY_CLASS)
"""Tables of two variants, in their order."""
