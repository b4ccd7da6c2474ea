"""Tables of two variants beside each other: all classes, groups, and what changed most."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from ltbench.analysis.board import TITLES, State, Value
from ltbench.analysis.class_changes import Change, change
from ltbench.analysis.pairwise import HeadToHead
from ltbench.analysis.significance import Comparison, Verdict
from ltbench.core.exact import mean
from ltbench.core.groups import GROUPS, RULES, class_groups
from ltbench.report.paired_tables import HOW, p_text
from ltbench.report.render import signed_text
from ltbench.report.tables import Cell, Table
from ltbench.runs.record import TestResult

UNPAIRED = "Intervals of groups and classes do not pair images and are rather too wide."

WORDS: dict[Verdict, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "not separable": "cannot be told apart from",
}


def head_to_head_tables(
    match: HeadToHead, comparison: Comparison, most: int
) -> tuple[Table, Table]:
    """Return both variants on all classes and on groups, and on the classes that changed most.

    Args:
        match: where they are compared.
        comparison: of all their answers.
        most: classes to show.
    """
    pairs, rule = match.pairs(), match.dataset.groups
    state: State = "complete" if comparison.n == match.planned else "partial"
    base = Value(n=comparison.n, planned=match.planned, state=state, keys=comparison.keys)

    def cells(found: Change | None) -> tuple[Cell, ...]:
        if found is None:
            return (Cell(value=replace(base, state="empty")),) * 3
        gap = replace(base, mean=found.difference, interval=found.interval)
        means = (replace(base, mean=mean) for mean in (found.ours, found.theirs))
        return (*(Cell(value=value) for value in means), Cell(signed_text(gap), gap))

    counts = next(iter(match.runs[0].values())).split.longtailed_counts
    group_of = class_groups(counts, rule)
    ours, theirs = (_mean_accuracy(pair[i] for pair in pairs) for i in range(2))
    everything = Change(ours, theirs, comparison.difference, comparison.interval)
    rows = [(Cell("All"), *cells(everything))]
    for group in GROUPS:
        members = [k for k, own in enumerate(group_of) if own == group]
        rows.append((Cell(TITLES[group]), *cells(change(pairs, members))))
    classes = {k: change(pairs, [k]) for k in range(len(counts))}
    changes = {k: found for k, found in classes.items() if found is not None}
    order = sorted(changes, key=lambda k: (-abs(changes[k].difference), k))
    columns = (*match.labels, "Difference")
    overall = Table(
        name="comparison",
        title=f"{match.place}: {' against '.join(match.labels)}",
        caption=f"{_sentence(match, comparison)} {HOW}. Groups: {RULES[rule]}; "
        f"a group's accuracy is the mean over its classes. {UNPAIRED}",
        columns=("Classes", *columns),
        rows=tuple(rows),
    )
    by_class = Table(
        name="classes",
        title="Classes that changed most",
        caption=f"{len(order[:most])} of {len(order)} classes, the largest change first.",
        columns=("Class", "Group", "Training images", *columns),
        rows=tuple(
            (Cell(str(k)), Cell(group_of[k]), Cell(f"{counts[k]:,}"), *cells(changes[k]))
            for k in order[:most]
        ),
        names=3,
    )
    return overall, by_class


def _mean_accuracy(tests: Iterable[TestResult]) -> Fraction:
    return 100 * mean([test.accuracy for test in tests])


def _sentence(match: HeadToHead, comparison: Comparison) -> str:
    """Return the verdict in words."""
    ours, theirs = match.labels
    seeds = f"{comparison.n} of {match.planned} seeds"
    if comparison.n == 1:
        seeds += ", so that it speaks of these trained networks alone"
    return (
        f"{ours} {WORDS[comparison.verdict]} {theirs} ({p_text(comparison.p)}; {seeds}). "
        f"{comparison.gained:,} answers are right with {ours} alone, {comparison.lost:,} with "
        f"{theirs} alone."
    )
