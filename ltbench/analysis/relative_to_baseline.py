"""What a board says of its variants beside softmax: gain, cost, classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ltbench.analysis.result_set import ResultSet, VariantResult
from ltbench.analysis.significance import find_baseline
from ltbench.analysis.training_cost import training_work
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import mean
from ltbench.runs.store import Stored


@dataclass(frozen=True)
class RelativeCost:
    """Work of training over softmax's; `known` where the registry has all networks."""

    ratio: Fraction
    known: bool


def gain(entry: VariantResult, plain: VariantResult | None) -> Fraction | None:
    """Return points of accuracy above softmax; None for softmax itself and where one is missing."""
    if plain is None or entry is plain:
        return None
    ours, theirs = entry.values["acc"].mean, plain.values["acc"].mean
    return None if ours is None or theirs is None else ours - theirs


def relative_costs(
    board: ResultSet, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> dict[str, RelativeCost]:
    """Return each variant's training cost, by label, where the records of all its parts are there.

    Passes through networks of all stages, starts and teachers are counted, not timed.
    """
    plain = find_baseline(board, BASELINE)
    unit = None if plain is None else training_work(plain, methods, records)
    if unit is None or not unit.megaflops:
        return {}
    done = {entry.variant.label: training_work(entry, methods, records) for entry in board.entries}
    return {
        label: RelativeCost(work.megaflops / unit.megaflops, work.known)
        for label, work in done.items()
        if work is not None
    }


def class_accuracy(entry: VariantResult, records: Mapping[str, Stored]) -> list[Fraction]:
    """Return the accuracy of each class in percent, mean over the seeds that are there, [C].

    A class without a test image has zero.
    """
    tests = [records[key].record.test for key in entry.values["acc"].keys]
    runs = [
        [Fraction(right, max(n, 1)) for right, n in zip(test.hits, test.totals, strict=True)]
        for test in tests
        if test is not None
    ]
    return [100 * mean(of_class) for of_class in zip(*runs, strict=True)]


def by_frequency(entry: VariantResult, records: Mapping[str, Stored]) -> list[tuple[int, int]]:
    """Return classes with their training images, the most frequent first, of a variant that ran."""
    counts = records[entry.values["acc"].keys[0]].record.split.longtailed_counts
    return sorted(enumerate(counts), key=lambda pair: (-pair[1], pair[0]))
