"""The first view of a group: accuracy, its gain, groups of classes, cost and seeds side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from ltbench.analysis.beside_softmax import RelativeCost, gain
from ltbench.analysis.board import EMPTY, Board, Entry
from ltbench.analysis.significance import (
    Comparison,
    Verdict,
    answers_of,
    compare_answers,
    compare_rows,
    find_plain,
)
from ltbench.config.expand import BASELINE
from ltbench.core.groups import GROUPS, RULES
from ltbench.report.page.cells import (
    Line,
    Shown,
    View,
    columns,
    in_blocks,
    is_ranked,
    percent,
    show,
    signed,
)
from ltbench.report.tables import Cell, Table
from ltbench.runs.store import Stored

PLAIN = ("RA", "UA", "Many", "Medium", "Few")
"""Columns whose spread other views show."""

TITLES = ("Rank", "Method", "Acc", "Gain", "Better?", *PLAIN, "Shape", "Cost", "Seeds")

VERDICTS: dict[Verdict, str] = {
    "better": "\N{BLACK UP-POINTING TRIANGLE} better",
    "worse": "\N{BLACK DOWN-POINTING TRIANGLE} worse",
    "not separable": "\N{ALMOST EQUAL TO} not separable",
}
HELP = {
    "Rank": "Place by accuracy among variants of which all seeds are there.",
    "Acc": "Top-1 accuracy on the test set after the last epoch in %, mean over seeds ± sample "
    "standard deviation.",
    "Gain": "Points of accuracy above softmax in this group.",
    "Better?": "Than softmax, by a paired test on the same test images, corrected for all variants "
    "of the group; not separable where chance may explain the difference. With one seed it speaks "
    "of these trained networks alone.",
    "RA": "Relative accuracy, 100 Acc / UA: how much is kept of what the same network reaches "
    "without imbalance.",
    "UA": "Upper reference accuracy: the better of softmax and the method itself, trained on the "
    "balanced twin of the long-tailed set.",
    "Shape": "Many, medium and few from left to right, on one scale from 0 to 100 %.",
    "Cost": "Passes of training images through networks beside softmax's, all stages, starts and "
    "teachers included, one with a gradient as three that are forward alone: counted, not timed; "
    "~ where a network is one's own, counted as softmax's.",
    "Seeds": "Seeds that are there, of those that the grid asks for.",
}


def overview(
    board: Board,
    main: Table,
    groups: Table,
    costs: Mapping[str, RelativeCost],
    records: Mapping[str, Stored],
) -> View:
    """Return the main view of a board, made of its main table and that of groups of classes."""
    plain = find_plain(board, BASELINE)
    by_title = [_cells(table) for table in (main, groups)]
    gains, verdicts = _gains(board, plain), compare_rows(board, records)
    lines = []
    for i, entry in enumerate(board.entries):
        own = {title: cells[i] for table in by_title for title, cells in table.items()}
        acc, *rest = (show(own[title], badge=False) for title in ("Acc", *PLAIN))
        lines.append(
            Line(
                (
                    Shown(),
                    show(own["Method"]),
                    acc,
                    gains[i],
                    _verdict(verdicts.get(entry.variant.label)),
                    *(replace(shown, spread="") for shown in rest),
                    Shown(points=tuple(entry.values[group].mean for group in GROUPS)),
                    _cost(costs.get(entry.variant.label)),
                    _seeds(entry),
                ),
                entry,
            )
        )
    ranked, others = in_blocks(lines)
    ranked = _with_places(ranked)
    return View(
        key="main",
        title="Main",
        caption=f"Groups of classes: {RULES[board.dataset.groups]}.",
        columns=tuple(columns(TITLES, [*ranked, *others], low=("Rank", "Cost"))),
        ranked=tuple(ranked),
        others=tuple(others),
        notes=main.notes,
        sortable=True,
        help=HELP,
    )


def _cells(table: Table) -> dict[str, list[Cell]]:
    """Return the cells of each column by its title."""
    return {title: [row[i] for row in table.rows] for i, title in enumerate(table.columns)}


def _gains(board: Board, plain: Entry | None) -> list[Shown]:
    made = []
    for entry in board.entries:
        points = gain(entry, plain)
        state = entry.values["acc"].state
        if points is None:
            made.append(Shown(EMPTY if entry is plain else "n/a", state="not available"))
        else:
            made.append(Shown(signed(points), sort=points, state=state))
    return made


def _verdict(comparison: Comparison | None) -> Shown:
    if comparison is None:
        return Shown()
    return Shown(VERDICTS[comparison.verdict], state=comparison.verdict)


def _cost(cost: RelativeCost | None) -> Shown:
    if cost is None:
        return Shown("n/a", state="not available")
    return Shown(str(cost), sort=cost.ratio, state="complete")


def _seeds(entry: Entry) -> Shown:
    value = entry.values["acc"]
    text = str(value.n) if value.n == value.planned else f"{value.n}/{value.planned}"
    return Shown(text, sort=Fraction(value.n), state=value.state)


def _with_places(ranked: Sequence[Line]) -> list[Line]:
    """Return rows with their places; equal accuracies share one."""
    means = [line.cells[2].sort for line in ranked]
    return [
        Line((Shown(str(place), sort=Fraction(place)), *line.cells[1:]), line.entry)
        for line, mean in zip(ranked, means, strict=True)
        for place in [means.index(mean) + 1]
    ]


def answers(
    board: Board, costs: Mapping[str, RelativeCost], records: Mapping[str, Stored]
) -> list[tuple[Shown, ...]]:
    """Return sentences on who leads, at what cost, and on classes with few images.

    Each is a row of texts, of which those with a `href` are names.
    """
    complete = [entry for entry in board.entries if is_ranked(entry)]
    if not complete:
        how = f"ltbench run --grid {board.grid}"
        return [(Shown(f"No variant has all its seeds yet: {how} trains what is missing."),)]
    plain = find_plain(board, BASELINE)
    best, *rest = sorted(complete, key=_accuracy, reverse=True)
    words = [_name(best), Shown(f" leads at {_printed(best)}")]
    if (points := gain(best, plain)) is not None:
        words.append(Shown(f", {percent(points)} points above softmax"))
    if rest:
        words += [Shown("; next is "), _name(rest[0]), Shown(f" at {_printed(rest[0])}")]
        words.append(Shown(_told_apart(best, rest[0], records)))
    sentences = [(*words, Shown("."))]
    if costs and len(complete) > 1:
        priced = [entry for entry in complete if entry.variant.label in costs]
        parts: list[Shown] = []
        named: Entry | None = None
        for limit, text in (
            (Fraction(105, 100), "At softmax's training cost"),
            (Fraction(3, 2), "up to 1.5 times it"),
        ):
            within = [e for e in priced if costs[e.variant.label].ratio <= limit and e is not plain]
            leader = max(within, key=_accuracy, default=None)
            if leader is not None and leader is not named:
                named = leader
                price = costs[leader.variant.label]
                parts += [Shown(("; " if parts else "") + f"{text}: "), _name(leader)]
                parts.append(Shown(f" {percent(_accuracy(leader))} ({price})"))
        if parts:
            sentences.append((*parts, Shown(".")))
    tail = [entry for entry in complete if entry.values["few"].mean is not None]
    if tail and len(complete) > 1:
        top = max(tail, key=lambda entry: entry.values["few"].mean or Fraction(0))
        words = [Shown("On classes with few images "), _name(top)]
        words.append(Shown(f" is best at {percent(top.values['few'].mean or Fraction(0))}"))
        few = None if plain is None or plain is top else plain.values["few"].mean
        words.append(Shown("." if few is None else f", where softmax gets {percent(few)}."))
        sentences.append(tuple(words))
    return sentences


def _told_apart(best: Entry, second: Entry, records: Mapping[str, Stored]) -> str:
    """Return what a paired test says of the first two."""
    runs = (
        answers_of(records[key].record for key in entry.values["acc"].keys)
        for entry in (best, second)
    )
    comparison = compare_answers(*runs)
    if comparison is None or comparison.verdict != "not separable":
        return ""
    return " (a paired test cannot tell them apart)"


def _accuracy(entry: Entry) -> Fraction:
    return entry.values["acc"].mean or Fraction(0)


def _printed(entry: Entry) -> str:
    shown = show(Cell(value=entry.values["acc"]))
    return f"{shown.text} {shown.spread}".strip()


def _name(entry: Entry) -> Shown:
    return Shown(entry.variant.label, href=f"#m-{entry.variant.method}")
