"""Variants over several datasets: mean ranks, and which of them differ.

Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006: on a dataset
the best variant has rank 1, and equal ones share the mean of their ranks. The Friedman test asks
whether any differ; mean ranks further apart than Nemenyi's critical difference do. Benavoli et al.,
"Should We Really Use Post-Hoc Tests Based on Mean-Ranks?", JMLR 2016, compare every two by
themselves: Wilcoxon's signed-rank test with Holm's correction. All depend on what is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import sqrt

import numpy as np

from ltbench.analysis.result_set import ResultSet
from ltbench.analysis.significance import SIGNIFICANT
from ltbench.analysis.statistics import holm
from ltbench.core.exact import mean, measured


@dataclass(frozen=True)
class Ranks:
    """What can be said of variants over datasets.

    Attributes:
        means: mean rank of each variant, the best first.
        friedman: p of the hypothesis that all are equal.
        critical_difference: of mean ranks, by Nemenyi at 5 %.
        wilcoxon: corrected p of every two variants, in the order of `means`.
        datasets: their number.
    """

    means: dict[str, Fraction]
    friedman: Fraction
    critical_difference: Fraction
    wilcoxon: dict[tuple[str, str], Fraction]
    datasets: int

    def alike(self) -> list[tuple[str, ...]]:
        """Return the largest runs of neighbours by rank of which no two differ by Wilcoxon-Holm."""
        names, found = list(self.means), list[tuple[int, int]]()
        for first in range(len(names)):
            last = first
            while last + 1 < len(names) and self._inseparable(names[first : last + 2]):
                last += 1
            if last > first and not any(last <= end for _, end in found):
                found.append((first, last))
        return [tuple(names[first : last + 1]) for first, last in found]

    def _inseparable(self, names: Sequence[str]) -> bool:
        return all(self.wilcoxon[pair] >= SIGNIFICANT for pair in combinations(names, 2))


def rank_variants(scores: Mapping[str, Sequence[Fraction]]) -> Ranks:
    """Return the ranks of three variants or more.

    Args:
        scores: of each variant, one a dataset, the larger the better.

    Raises:
        ValueError: with fewer variants, or scores of unequal numbers.
    """
    from scipy import stats

    if len(scores) < 3:
        raise ValueError("ranks are for three variants or more")
    # Floats of exact scores, and of their differences below, have the order and the ties of these.
    values = np.array([[float(score) for score in of_one] for of_one in scores.values()])
    variants, datasets = values.shape
    placed = stats.rankdata(-values, axis=0)  # [variants, datasets], halves at most, and so exact
    means = {
        name: mean([*map(Fraction, places)])
        for name, places in zip(scores, placed.tolist(), strict=True)
    }
    names = sorted(scores, key=means.__getitem__)
    pairs = list(combinations(names, 2))
    corrected = holm([_wilcoxon(scores[a], scores[b]) for a, b in pairs])
    equal = (placed == placed[0]).all()
    range_ = stats.studentized_range.ppf(float(1 - SIGNIFICANT), variants, np.inf)
    return Ranks(
        means={name: means[name] for name in names},
        friedman=Fraction(1) if equal else measured(stats.friedmanchisquare(*placed).pvalue),
        critical_difference=measured(
            range_ / sqrt(2) * sqrt(variants * (variants + 1) / 6 / datasets)
        ),
        wilcoxon=dict(zip(pairs, corrected, strict=True)),
        datasets=datasets,
    )


def _wilcoxon(ours: Sequence[Fraction], theirs: Sequence[Fraction]) -> Fraction:
    """Return the two-sided p-value; equal scores are half for either (zsplit)."""
    from scipy import stats

    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    if not any(gaps):
        return Fraction(1)
    return measured(stats.wilcoxon([*map(float, gaps)], zero_method="zsplit").pvalue)


def accuracies(boards: Sequence[ResultSet]) -> tuple[tuple[str, ...], dict[str, list[Fraction]]]:
    """Return datasets, and the accuracies on them of the variants that are complete on each.

    A dataset counts once, whatever its ratios and recipes: by the board with the most complete
    variants, the first of equals.
    """
    chosen: dict[str, tuple[ResultSet, dict[str, Fraction]]] = {}
    for board in boards:
        known = _complete(board)
        before = chosen.get(board.dataset.name)
        if known and (before is None or len(known) > len(before[1])):
            chosen[board.dataset.name] = (board, known)
    tables = [known for _, known in chosen.values()]
    names = [name for name in tables[0] if all(name in known for known in tables)] if tables else []
    return tuple(chosen), {name: [known[name] for known in tables] for name in names}


def _complete(board: ResultSet) -> dict[str, Fraction]:
    values = {entry.variant.label: entry.values["acc"] for entry in board.entries}
    return {
        label: value.mean
        for label, value in values.items()
        if value.state == "complete" and value.mean is not None
    }
