"""What stands above a board's tables: what paired tests tell apart, and then the order."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from ltbench.analysis.class_changes import Change, change
from ltbench.analysis.pairwise import HeadToHead
from ltbench.analysis.result_set import VariantResult
from ltbench.analysis.significance import Comparison, Verdict, compare_with
from ltbench.core.groups import class_groups
from ltbench.report.page.overview import BoardSummary, accuracy
from ltbench.report.table import PERCENT, POINTS, TIMES, value_text

Headline = tuple[str | VariantResult, ...]
"""A sentence of texts and variants, which lead to their methods."""

Comparisons = Mapping[str, Comparison]

NAMED = 3
"""Variants that a sentence names, at most."""

TESTED = "a paired test"
ONE_SEED = "With one seed these tests speak of these trained networks alone."


def headlines(of: BoardSummary) -> list[Headline]:
    """Return sentences on what differs from softmax, on the best, its cost, and few images."""
    if not of.ranked:
        how = f"ltbench run --grid {of.board.grid}"
        return [(f"No variant has all its seeds yet: {how} trains what is missing.",)]
    labels = {entry.variant.label for entry in of.ranked}
    over, behind = (
        {label: found for label, found in comparisons.items() if label in labels}
        for comparisons in (of.over_softmax, compare_with(of.ranked[0], of.board, of.records))
    )
    every = [*over.values(), *behind.values()]
    if not every:
        return [("No two variants can be compared yet.",), _highest(of)]
    caveat: list[Headline] = [(ONE_SEED,)] if all(found.n == 1 for found in every) else []
    if all(found.verdict == "not separable" for found in every):
        others = "softmax or from the most accurate one" if over else "the most accurate one"
        said = f"Nothing can be told apart here: no variant differs from {others} by {TESTED}."
        return [(said,), *caveat, _highest(of)]
    best = _highest(of, *_beside_best(of, behind))
    return [*_beside_softmax(of, over), best, *caveat, *_by_cost(of, over), *_on_few(of)]


def _beside_softmax(of: BoardSummary, over: Comparisons) -> list[Headline]:
    """Say which variants differ from softmax, if any was compared with it."""
    better, worse, alike = (_with(of, over, v) for v in ("better", "worse", "not separable"))
    parts: list[str | VariantResult] = [f"By {TESTED} on the same test images, "]
    parts += ["better than softmax: ", *_named(better)] if better else ["nothing beats softmax"]
    if worse:
        parts += ["; worse: ", *_named(worse)]
    if alike:
        parts += ["; not told apart from it: ", *_named(alike)]
    return [(*parts, ".")] if over else []


def _beside_best(of: BoardSummary, behind: Comparisons) -> Headline:
    """Say whether the others differ from the most accurate variant."""
    alike = _with(of, behind, "not separable")
    if alike:
        return (f"; {TESTED} cannot tell it from ", *_named(alike))
    compared = len(behind) == len(of.ranked) - 1
    return (f"; every other one is less accurate by {TESTED}",) if compared else ()


def _with(of: BoardSummary, found: Comparisons, verdict: Verdict) -> list[VariantResult]:
    """Return the variants with a verdict, the most accurate first."""
    labels = {label for label, comparison in found.items() if comparison.verdict == verdict}
    return [entry for entry in of.ranked if entry.variant.label in labels]


def _named(entries: Sequence[VariantResult]) -> Iterable[str | VariantResult]:
    """Yield variants with what stands between them."""
    for i, entry in enumerate(entries[:NAMED]):
        yield from (" · ", entry) if i else (entry,)
    if len(entries) > NAMED:
        yield f" and {len(entries) - NAMED} more"


def _highest(of: BoardSummary, *told: str | VariantResult) -> Headline:
    best = of.ranked[0]
    gained = of.gain(best)
    points = ""
    if gained is not None and gained.mean is not None:
        points = f", {POINTS.text(gained.mean)} points over softmax"
    return "Highest accuracy: ", best, f", {value_text(best.values['acc'])}{points}", *told, "."


def _by_cost(of: BoardSummary, over: Comparisons) -> list[Headline]:
    """Say which others better than softmax are the most accurate at its training cost, or near."""
    better = [e for e in _with(of, over, "better") if e.variant.label in of.costs]
    parts: list[str | VariantResult] = []
    named = of.ranked[0]
    for limit, where in (
        (Fraction(105, 100), "at softmax's training cost"),
        (Fraction(3, 2), "up to 1.5 times it"),
    ):
        leader = next((e for e in better if of.costs[e.variant.label].ratio <= limit), None)
        if leader is not None and leader is not named:
            named, price = leader, TIMES.text(of.costs[leader.variant.label].ratio)
            parts += ["; " if parts else "Highest ", f"{where}: ", leader]
            parts.append(f", {PERCENT.text(accuracy(leader))} ({price})")
    return [(*parts, ".")] if parts else []


def _on_few(of: BoardSummary) -> list[Headline]:
    """Say which variant is the most accurate on classes with few images, beside softmax."""
    there = [(mean, e) for e in of.ranked if (mean := e.values["few"].mean) is not None]
    plain = next((mean for mean, entry in there if entry is of.plain), None)
    if of.plain is None or plain is None:
        return []
    mean, top = max(there, key=lambda pair: pair[0])
    found = None if top is of.plain else _change_on_few(of, top, of.plain)
    if found is None:
        return []
    low, high = found.interval
    told = ", which its interval does not tell apart" if low <= 0 <= high else ""
    text = f", {PERCENT.text(mean)}; softmax has {PERCENT.text(plain)}{told}."
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
    groups = class_groups(counts, board.dataset.shot_rule)
    few = [k for k, group in enumerate(groups) if group == "few"]
    return change(pairs, few) if (pairs := match.pairs()) else None
