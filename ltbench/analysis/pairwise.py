"""Two variants beside each other: on all classes, on groups, and on those that changed most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ltbench.analysis.class_changes import Pair
from ltbench.analysis.significance import Comparison, compare, correctness_of
from ltbench.config.models import DatasetSpec, Recipe, Split
from ltbench.config.planning import Plan, PlannedRun
from ltbench.runs.record import Record
from ltbench.runs.store import Stored


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
        ours, theirs = (correctness_of(runs.values()) for runs in self.runs)
        return compare(ours, theirs)

    def pairs(self) -> list[Pair]:
        """Return the test results of both on each seed that both have."""
        ours, theirs = self.runs
        tests = ((ours[seed].test, theirs[seed].test) for seed in ours if seed in theirs)
        return [(a, b) for a, b in tests if a is not None and b is not None]


def head_to_heads(
    rows: Sequence[tuple[Plan, PlannedRun]], records: Mapping[str, Stored], labels: tuple[str, str]
) -> list[HeadToHead]:
    """Return every dataset, recipe and split where both variants are planned, each jobs once.

    Args:
        rows: those that may be compared, with their plans.
        records: sound records by key.
        labels: of the two variants.
    """
    places: dict[tuple[str, str, str, Split], dict[str, dict[int, PlannedRun]]] = {}
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


def _there(rows: Mapping[int, PlannedRun], records: Mapping[str, Stored]) -> dict[int, Record]:
    return {seed: records[row.key].record for seed, row in rows.items() if row.key in records}
