"""Variants relative to the softmax baseline: training cost, per-class accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from ltbench.analysis.result_set import ResultSet, VariantResult
from ltbench.analysis.significance import find_baseline
from ltbench.analysis.training_cost import training_flops
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.runs.store import Stored


@dataclass(frozen=True)
class RelativeCost:
    """Training FLOPs relative to softmax; `known` as in `TrainingFlops`."""

    ratio: Fraction
    known: bool


def relative_costs(
    board: ResultSet, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> dict[str, RelativeCost]:
    """Return the training FLOPs of variants relative to softmax, by label.

    They include all stages, init jobs and teachers; a variant without all of these records, or a
    board without softmax, has none.
    """
    baseline = find_baseline(board, BASELINE)
    unit = None if baseline is None else training_flops(baseline, methods, records)
    if unit is None or not unit.megaflops:
        return {}
    flops = {e.variant.label: training_flops(e, methods, records) for e in board.entries}
    return {
        label: RelativeCost(ours.megaflops / unit.megaflops, ours.known)
        for label, ours in flops.items()
        if ours is not None
    }


def per_class_accuracy(entry: VariantResult, records: Mapping[str, Stored]) -> list[Fraction]:
    """Return the accuracy of each class in percent, [C].

    A mean over the existing seeds; zero for a class without a test image.
    """
    tests = [records[key].record.test for key in entry.values["acc"].keys]
    counts = (zip(test.hits, test.totals, strict=True) for test in tests if test is not None)
    return [_mean_recall(of_class) for of_class in zip(*counts, strict=True)]


def _mean_recall(counts: Sequence[tuple[int, int]]) -> Fraction:
    """Return a class's mean accuracy over runs in percent."""
    unit = lcm(*(max(n, 1) for _, n in counts))
    return Fraction(100 * sum(hits * (unit // max(n, 1)) for hits, n in counts), unit * len(counts))


def by_frequency(entry: VariantResult, records: Mapping[str, Stored]) -> list[tuple[int, int]]:
    """Return (class, training images) pairs, the most frequent class first.

    Args:
        entry: a variant with a record.
        records: valid records by key.
    """
    counts = records[entry.values["acc"].keys[0]].record.split.longtailed_counts
    return sorted(enumerate(counts), key=lambda pair: (-pair[1], pair[0]))
