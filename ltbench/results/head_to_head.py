"""Two variants beside each other: on all classes, on groups, and on those that changed most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ltbench.config.expand import Plan, Row
from ltbench.config.models import DatasetSpec, Recipe, Split
from ltbench.results.board import State, Value
from ltbench.results.exact import mean
from ltbench.results.groups import GROUPS, RULES, class_groups
from ltbench.results.paired import Comparison, Verdict, answers_of, compare_answers
from ltbench.results.paired_tables import HOW, p_text
from ltbench.results.per_class import Change, Pair, change
from ltbench.results.record import Record, TestResult
from ltbench.results.render import signed_text
from ltbench.results.store import Stored
from ltbench.results.tables import TITLES, Cell, Table

UNPAIRED = "Intervals of groups and classes do not pair images and are rather too wide."

WORDS: dict[Verdict, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "not separable": "cannot be told apart from",
}


@dataclass(frozen=True)
class HeadToHead:
    """Where two variants can be compared, and their records there, by seed.

    Attributes:
        grid: name of the first grid that has both.
        labels: of the two.
        runs: records of each that are there.
        planned: seeds that the grid asks for.
    """

    grid: str
    dataset: DatasetSpec
    recipe: Recipe
    split: Split
    labels: tuple[str, str]
    runs: tuple[dict[int, Record], dict[int, Record]]
    planned: int

    @property
    def place(self) -> str:
        """Dataset, recipe and split, as messages name them."""
        return f"{self.dataset.id}, {self.recipe.name}, {self.split}"

    def compare(self) -> Comparison | None:
        """Return the paired comparison; None without a seed that both have."""
        ours, theirs = (answers_of(runs.values()) for runs in self.runs)
        return compare_answers(ours, theirs)

    def pairs(self) -> list[Pair]:
        """Return the test results of both on each seed that both have."""
        ours, theirs = self.runs
        tests = ((ours[seed].test, theirs[seed].test) for seed in ours if seed in theirs)
        return [(a, b) for a, b in tests if a is not None and b is not None]


def head_to_heads(
    rows: Sequence[tuple[Plan, Row]], records: Mapping[str, Stored], labels: tuple[str, str]
) -> list[HeadToHead]:
    """Return every dataset, recipe and split where both variants are planned, each jobs once.

    Args:
        rows: those that may be compared, with their plans.
        records: sound records by key.
        labels: of the two variants.
    """
    places: dict[tuple[str, str, str, Split], dict[str, dict[int, Row]]] = {}
    for plan, row in rows:
        if row.variant.label in labels:
            place = (plan.grid.name, row.dataset.id, row.recipe.name, row.split)
            places.setdefault(place, {}).setdefault(row.variant.label, {})[row.seed] = row
    found: dict[tuple[str, ...], HeadToHead] = {}
    for (grid, *_), variants in places.items():
        if len(variants) == 2:
            ours, theirs = (variants[label] for label in labels)
            row = next(iter(ours.values()))
            keys = tuple(row.key for seeds in (ours, theirs) for row in seeds.values())
            runs = (_there(ours, records), _there(theirs, records))
            made = HeadToHead(
                *(grid, row.dataset, row.recipe, row.split, labels, runs),
                planned=len(ours),
            )
            found.setdefault(keys, made)
    return list(found.values())


def _there(rows: Mapping[int, Row], records: Mapping[str, Stored]) -> dict[int, Record]:
    return {seed: records[row.key].record for seed, row in rows.items() if row.key in records}


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
