"""Mean ranks of variants over datasets, and significance tests of their differences.

Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006: on a dataset
the best variant has rank 1, and ties share their mean rank. The Friedman test asks whether any
variants differ; those whose mean ranks differ by more than Nemenyi's critical difference do.
Benavoli et al., "Should We Really Use Post-Hoc Tests Based on Mean-Ranks?", JMLR 2016, test each
pair separately: Wilcoxon's signed-rank test with Holm's correction. All results depend on which
variants are compared.
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
class MeanRanks:
    """Mean ranks of variants over datasets, with significance tests.

    Attributes:
        means: mean rank of each variant, the best first.
        friedman: p-value of the hypothesis that all variants are equal.
        critical_difference: of mean ranks, by Nemenyi at 5 %.
        wilcoxon: corrected p-value of each pair of variants, in the order of `means`.
        datasets: their number.
    """

    means: dict[str, Fraction]
    friedman: Fraction
    critical_difference: Fraction
    wilcoxon: dict[tuple[str, str], Fraction]
    datasets: int

    @property
    def separable(self) -> bool:
        """Whether a variant that wins on all datasets would be significantly better.

        The smallest p of Wilcoxon's test is 2 / 2^n on n datasets, times all pairs by Holm.
        """
        return len(self.wilcoxon) * Fraction(2, 2**self.datasets) < SIGNIFICANT

    def cliques(self) -> list[tuple[str, ...]]:
        """Return the maximal groups of adjacent ranks without significant differences."""
        names, cliques = list(self.means), list[tuple[int, int]]()
        for first in range(len(names)):
            last = first
            while last + 1 < len(names) and self._not_significant(names[first : last + 2]):
                last += 1
            if last > first and not any(last <= end for _, end in cliques):
                cliques.append((first, last))
        return [tuple(names[first : last + 1]) for first, last in cliques]

    def _not_significant(self, names: Sequence[str]) -> bool:
        return all(self.wilcoxon[pair] >= SIGNIFICANT for pair in combinations(names, 2))


def rank_variants(scores: Mapping[str, Sequence[Fraction]]) -> MeanRanks:
    """Return the mean ranks of at least three variants.

    Args:
        scores: of each variant, one per dataset, the larger the better.

    Raises:
        ValueError: for fewer variants, or unequal numbers of scores.
    """
    from scipy import stats

    if len(scores) < 3:
        raise ValueError(f"ranks need at least three variants, got {len(scores)}")
    # Floats keep the order and the ties of the exact scores, and of their differences below.
    values = np.array([[float(score) for score in of_one] for of_one in scores.values()])
    variants, datasets = values.shape
    ranks = stats.rankdata(-values, axis=0)  # [variants, datasets], multiples of 0.5: exact
    means = {
        name: mean([*map(Fraction, of_one)])
        for name, of_one in zip(scores, ranks.tolist(), strict=True)
    }
    names = sorted(scores, key=means.__getitem__)
    pairs = list(combinations(names, 2))
    corrected = holm([_wilcoxon(scores[a], scores[b]) for a, b in pairs])
    equal = (ranks == ranks[0]).all()
    range_ = stats.studentized_range.ppf(float(1 - SIGNIFICANT), variants, np.inf)
    return MeanRanks(
        means={name: means[name] for name in names},
        friedman=Fraction(1) if equal else measured(stats.friedmanchisquare(*ranks).pvalue),
        critical_difference=measured(
            range_ / sqrt(2) * sqrt(variants * (variants + 1) / 6 / datasets)
        ),
        wilcoxon=dict(zip(pairs, corrected, strict=True)),
        datasets=datasets,
    )


def _wilcoxon(ours: Sequence[Fraction], theirs: Sequence[Fraction]) -> Fraction:
    """Return the two-sided p-value; ties count half for each side (zsplit)."""
    from scipy import stats

    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    if not any(differences):
        return Fraction(1)
    return measured(stats.wilcoxon([*map(float, differences)], zero_method="zsplit").pvalue)


def accuracies(boards: Sequence[ResultSet]) -> tuple[tuple[str, ...], dict[str, list[Fraction]]]:
    """Return datasets, and accuracies of the variants complete on all of them.

    A dataset counts once, whatever its imbalance ratios and recipes: by its board with the most
    complete variants, the first of equals. Boards of trials do not count.
    """
    by_dataset: dict[str, dict[str, Fraction]] = {}
    for board in (board for board in boards if board.dataset.tested_on == "test"):
        complete = _complete_accuracies(board)
        if len(complete) > len(by_dataset.get(board.dataset.name, ())):
            by_dataset[board.dataset.name] = complete
    tables = list(by_dataset.values())
    labels = [label for label in tables[0] if all(label in t for t in tables)] if tables else []
    return tuple(by_dataset), {label: [table[label] for table in tables] for label in labels}


def _complete_accuracies(board: ResultSet) -> dict[str, Fraction]:
    values = {entry.variant.label: entry.values["acc"] for entry in board.entries}
    return {
        label: value.mean
        for label, value in values.items()
        if value.state == "complete" and value.mean is not None
    }
