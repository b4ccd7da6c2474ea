"""Head-to-head comparisons of two variants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ltbench.analysis.class_changes import Pair
from ltbench.analysis.significance import Comparison, compare, correctness_of
from ltbench.config.dataset import DatasetSpec, Split
from ltbench.config.planning import Plan, PlannedRun
from ltbench.config.recipe import Recipe
from ltbench.runs.record import Record
from ltbench.runs.store import Stored


@dataclass(frozen=True)
class HeadToHead:
    """Two variants on one dataset, recipe and split.

    Attributes:
        grid: name of the first grid with both.
        labels: of the two variants.
        runs: existing records of each by seed.
        planned: number of seeds in the grid.
    """

    grid: str
    dataset: DatasetSpec
    recipe: Recipe
    split: Split
    labels: tuple[str, str]
    runs: tuple[dict[int, Record], dict[int, Record]]
    planned: int

    @property
    def setting(self) -> str:
        """Dataset, recipe and split, for messages."""
        return f"{self.dataset.id}, {self.recipe.name}, {self.split}"

    def compare(self) -> Comparison | None:
        """Return the paired comparison, None without a common seed."""
        ours, theirs = (correctness_of(runs.values()) for runs in self.runs)
        return compare(ours, theirs)

    def pairs(self) -> list[Pair]:
        """Return the test results of both on each common seed."""
        ours, theirs = self.runs
        tests = ((ours[seed].test, theirs[seed].test) for seed in ours if seed in theirs)
        return [(a, b) for a, b in tests if a is not None and b is not None]


def head_to_heads(
    rows: Sequence[tuple[Plan, PlannedRun]], records: Mapping[str, Stored], labels: tuple[str, str]
) -> list[HeadToHead]:
    """Return the settings in which both variants are planned.

    Settings with the same jobs, in several grids, count once.

    Args:
        rows: planned runs to compare, with their plans.
        records: valid records by key.
        labels: of the two variants.
    """
    settings: dict[tuple[str, str, str, Split], dict[str, dict[int, PlannedRun]]] = {}
    for plan, row in rows:
        if row.variant.label in labels:
            setting = (plan.grid.name, row.dataset.id, row.recipe.name, row.split)
            settings.setdefault(setting, {}).setdefault(row.variant.label, {})[row.seed] = row
    by_keys: dict[tuple[str, ...], HeadToHead] = {}
    for (grid, *_), variants in settings.items():
        if len(variants) == 2:
            ours, theirs = (variants[label] for label in labels)
            row = next(iter(ours.values()))
            keys = tuple(row.key for seeds in (ours, theirs) for row in seeds.values())
            runs = (_recorded(ours, records), _recorded(theirs, records))
            match = HeadToHead(
                *(grid, row.dataset, row.recipe, row.split, labels, runs),
                planned=len(ours),
            )
            by_keys.setdefault(keys, match)
    return list(by_keys.values())


def _recorded(rows: Mapping[int, PlannedRun], records: Mapping[str, Stored]) -> dict[int, Record]:
    return {seed: records[row.key].record for seed, row in rows.items() if row.key in records}
