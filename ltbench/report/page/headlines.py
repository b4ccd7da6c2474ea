"""Headlines of a board: significant differences first, then the order."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from ltbench.analysis.class_changes import Change, change
from ltbench.analysis.pairwise import HeadToHead
from ltbench.analysis.result_set import VariantResult
from ltbench.analysis.significance import Comparison, ComparisonVerdict, compare_with
from ltbench.core.groups import subset_classes
from ltbench.report.page.overview import BoardSummary, accuracy
from ltbench.report.table import PERCENT, POINTS, TIMES, value_text

Headline = tuple[str | VariantResult, ...]
"""A sentence of texts and variants; variants become links to their methods."""

Comparisons = Mapping[str, Comparison]

MAX_NAMED = 3
"""Variants that a sentence names."""

PAIRED_TEST = "a paired test"
ONE_SEED = "With one seed, these tests are about these trained networks alone."


def as_text(headline: Headline) -> str:
    """Return a sentence as text."""
    return "".join(part if isinstance(part, str) else part.variant.label for part in headline)


def headlines(of: BoardSummary) -> list[Headline]:
    """Return sentences on significant differences, accuracy, cost and few-shot classes."""
    if not of.ranked:
        return _incomplete(of)
    labels = {entry.variant.label for entry in of.ranked}
    with_softmax, with_best = (
        {label: comparison for label, comparison in comparisons.items() if label in labels}
        for comparisons in (of.over_softmax, compare_with(of.ranked[0], of.board, of.records))
    )
    every = [*with_softmax.values(), *with_best.values()]
    if not every:
        return [("No two variants can be compared yet.",), _highest(of)]
    caveat: list[Headline] = [(ONE_SEED,)] if all(comparison.n == 1 for comparison in every) else []
    if all(comparison.verdict == "not significant" for comparison in every):
        best = "the most accurate variant"
        others = f"softmax or from {best}" if with_softmax else best
        text = f"No significant differences: no variant differs from {others} by {PAIRED_TEST}."
        return [(text,), *caveat, _highest(of)]
    highest = _highest(of, *_versus_best(of, with_best))
    return [
        *_versus_softmax(of, with_softmax),
        highest,
        *caveat,
        *_by_cost(of, with_softmax),
        *_on_few(of),
    ]


def _incomplete(of: BoardSummary) -> list[Headline]:
    """Return sentences on a board without a variant that has all seeds."""
    command = f"ltbench run --grid {of.board.grid}"
    missing: Headline = (f"No variant has all seeds yet: {command} trains the missing jobs.",)
    measured = [entry for entry in of.entries if entry.values["acc"].mean is not None]
    if not measured:
        return [missing]
    best = max(measured, key=accuracy)
    return [("Highest accuracy so far: ", best, f", {value_text(best.values['acc'])}."), missing]


def _versus_softmax(of: BoardSummary, comparisons: Comparisons) -> list[Headline]:
    """Return the sentence on variants that differ from softmax."""
    better, worse, not_significant = (
        _with(of, comparisons, verdict) for verdict in ("better", "worse", "not significant")
    )
    parts: list[str | VariantResult] = [f"By {PAIRED_TEST} on the same test images, "]
    parts += (
        ["better than softmax: ", *_named(better)]
        if better
        else ["no variant is better than softmax"]
    )
    if worse:
        parts += ["; worse: ", *_named(worse)]
    if not_significant:
        parts += ["; not significantly different: ", *_named(not_significant)]
    return [(*parts, ".")] if comparisons else []


def _versus_best(of: BoardSummary, comparisons: Comparisons) -> Headline:
    """Return the clause on variants that differ from the most accurate."""
    not_significant = _with(of, comparisons, "not significant")
    if not_significant:
        return (
            f"; not significantly different from it by {PAIRED_TEST}: ",
            *_named(not_significant),
        )
    all_compared = len(comparisons) == len(of.ranked) - 1
    return (f"; every other variant is less accurate by {PAIRED_TEST}",) if all_compared else ()


def _with(
    of: BoardSummary, comparisons: Comparisons, verdict: ComparisonVerdict
) -> list[VariantResult]:
    """Return the variants with a verdict, the most accurate first."""
    labels = {label for label, each in comparisons.items() if each.verdict == verdict}
    return [entry for entry in of.ranked if entry.variant.label in labels]


def _named(entries: Sequence[VariantResult]) -> Iterable[str | VariantResult]:
    """Yield variants and separators."""
    for i, entry in enumerate(entries[:MAX_NAMED]):
        yield from (" · ", entry) if i else (entry,)
    if len(entries) > MAX_NAMED:
        yield f" and {len(entries) - MAX_NAMED} more"


def _highest(of: BoardSummary, *clause: str | VariantResult) -> Headline:
    best = of.ranked[0]
    gain = of.gain(best)
    points = ""
    if gain is not None and gain.mean is not None:
        points = f", {POINTS.text(gain.mean)} points over softmax"
    return "Highest accuracy: ", best, f", {value_text(best.values['acc'])}{points}", *clause, "."


def _by_cost(of: BoardSummary, comparisons: Comparisons) -> list[Headline]:
    """Return the sentence on the most accurate variants at low cost.

    Of variants better than softmax, at its training cost and up to 1.5 times of it.
    """
    better = [e for e in _with(of, comparisons, "better") if e.variant.label in of.costs]
    parts: list[str | VariantResult] = []
    named = of.ranked[0]
    for limit, budget in (
        (Fraction(105, 100), "at the training cost of softmax"),
        (Fraction(3, 2), "up to 1.5 times that"),
    ):
        leader = next((e for e in better if of.costs[e.variant.label].ratio <= limit), None)
        if leader is not None and leader is not named:
            named, cost = leader, TIMES.text(of.costs[leader.variant.label].ratio)
            parts += ["; " if parts else "Highest ", f"{budget}: ", leader]
            parts.append(f", {PERCENT.text(accuracy(leader))} ({cost})")
    return [(*parts, ".")] if parts else []


def _on_few(of: BoardSummary) -> list[Headline]:
    """Return the sentence on the most accurate variant on few-shot classes."""
    few = [(mean, e) for e in of.ranked if (mean := e.values["few"].mean) is not None]
    theirs = next((mean for mean, entry in few if entry is of.softmax), None)
    if of.softmax is None or theirs is None:
        return []
    ours, top = max(few, key=lambda pair: pair[0])
    difference = None if top is of.softmax else _change_on_few(of, top, of.softmax)
    if difference is None:
        return []
    low, high = difference.interval
    caveat = " (not significant by its interval)" if low <= 0 <= high else ""
    text = f", {PERCENT.text(ours)}; softmax has {PERCENT.text(theirs)}{caveat}."
    return [("Highest on classes with few images: ", top, text)]


def _change_on_few(of: BoardSummary, ours: VariantResult, theirs: VariantResult) -> Change | None:
    board, runs = of.board, [{r.job.seed: r for r in of.records_of(e)} for e in (ours, theirs)]
    match = HeadToHead(
        *(board.grid, board.dataset, board.recipe),
        split="longtailed",
        labels=(ours.variant.label, theirs.variant.label),
        runs=(runs[0], runs[1]),
        planned=len(board.seeds),
    )
    counts = next(iter(runs[0].values())).split.longtailed_counts
    few = subset_classes("few", counts, board.dataset.shot_rule)
    return change(pairs, few) if (pairs := match.pairs()) else None
